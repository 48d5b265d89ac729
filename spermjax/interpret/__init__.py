"""Explanations of a model's decisions, and the metrics that test them.

`explain` and `evaluate` take images from the host in bounded memory; `measure` is the
pure function behind them, for use inside a jitted step. Methods and metrics are asked
for by name: `METHODS`, `METRICS`.
"""

from spermjax.interpret.library import evaluate, explain
from spermjax.interpret.methods import METHODS, Method
from spermjax.interpret.metrics import METRICS, Metric
from spermjax.interpret.model import FunctionModel
from spermjax.interpret.suite import Measurements, applicable, deciding_regions, measure

__all__ = [
    "METHODS",
    "METRICS",
    "FunctionModel",
    "Measurements",
    "Method",
    "Metric",
    "applicable",
    "deciding_regions",
    "evaluate",
    "explain",
    "measure",
]
