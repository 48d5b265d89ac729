"""How right a model is, and how sure one can be of it: metrics, calibration, intervals."""

from spermjax.evaluate.classification import quick, score, selection_metric
from spermjax.evaluate.intervals import Interval, bootstrap, mean, wilson
from spermjax.evaluate.scores import Scores

__all__ = ["Interval", "Scores", "bootstrap", "mean", "quick", "score", "selection_metric", "wilson"]
