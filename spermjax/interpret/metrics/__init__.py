"""Metrics of explanations and of attention, by name in `METRICS`."""

from spermjax.interpret.metrics import (
    attention,
    by_part,
    complexity,
    confidence,
    faithfulness,
    localisation,
    overlap,
    ranking,
    road,
    robustness,
    sanity,
    subsets,
)
from spermjax.interpret.metrics.metric import METRICS, Metric

__all__ = [
    "METRICS",
    "Metric",
    "attention",
    "by_part",
    "complexity",
    "confidence",
    "faithfulness",
    "localisation",
    "overlap",
    "ranking",
    "road",
    "robustness",
    "sanity",
    "subsets",
]
