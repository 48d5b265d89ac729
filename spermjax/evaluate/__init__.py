"""How right a model is, and how sure one can be of it: metrics, calibration, intervals."""

from spermjax.evaluate.classification import quick, score, selection_metric
from spermjax.evaluate.comparison import (
    Comparison,
    benjamini_hochberg,
    compare,
    holm,
    kendall_w,
    mcnemar,
    paired_permutation,
)
from spermjax.evaluate.intervals import Interval, bootstrap, mean, wilson
from spermjax.evaluate.scores import Scores

__all__ = [
    "Comparison",
    "Interval",
    "Scores",
    "benjamini_hochberg",
    "bootstrap",
    "compare",
    "holm",
    "kendall_w",
    "mcnemar",
    "mean",
    "paired_permutation",
    "quick",
    "score",
    "selection_metric",
    "wilson",
]
