"""Metrics of explanations and of attention, by name in `METRICS`."""

from spermjax.interpret.metrics import attention, complexity, faithfulness, localisation, overlap, ranking
from spermjax.interpret.metrics.metric import METRICS, Metric

__all__ = ["METRICS", "Metric", "attention", "complexity", "faithfulness", "localisation", "overlap", "ranking"]
