"""Classification metrics on weighted examples.

Each function takes a leading axis of weightings, so that one call gives the metric on
thousands of bootstrap resamples; a single row of ones gives the metric itself. All are
NaN where undefined. With weights of one they equal scikit-learn's.
"""

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

Weights = Float[np.ndarray, "resamples examples"]
Values = Float[np.ndarray, "resamples"]


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Elementwise quotient, NaN over zero."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)


def mean(weight: Weights, value: Float[np.ndarray, "examples"]) -> Values:
    """Weighted mean of a value per example."""
    return ratio(weight @ value, weight.sum(-1))


def confusion(
    weight: Weights, label: Int[np.ndarray, "examples"], predicted: Int[np.ndarray, "examples"], classes: int
) -> Float[np.ndarray, "resamples classes classes"]:
    """Weighted counts; rows are true classes, columns predicted ones."""
    n = len(label)
    cells = scipy.sparse.csr_array((np.ones(n), label * classes + predicted, np.arange(n + 1)), shape=(n, classes**2))
    return (weight @ cells).reshape(-1, classes, classes)


def precision(counts: Float[np.ndarray, "*any k k"]) -> Float[np.ndarray, "*any k"]:
    """Share of the examples predicted as a class that are of it; NaN where none is predicted."""
    return ratio(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-2))


def recall(counts: Float[np.ndarray, "*any k k"]) -> Float[np.ndarray, "*any k"]:
    """Share of a class that is predicted as it; NaN for a class without examples."""
    return ratio(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1))


def f_score(counts: Float[np.ndarray, "*any k k"], beta: float = 1.0) -> Float[np.ndarray, "*any k"]:
    """F-beta of each class (van Rijsbergen 1979); NaN for a class neither true nor predicted."""
    right = (1 + beta**2) * np.diagonal(counts, axis1=-2, axis2=-1)
    return ratio(right, beta**2 * counts.sum(-1) + counts.sum(-2))


def macro(per_class: Float[np.ndarray, "resamples k"], counts: Float[np.ndarray, "resamples k k"]) -> Values:
    """Mean of recall or F-beta over the classes that have examples.

    Whether a class has examples is asked of each weighting, so the mean stays defined
    on a resample that lost a rare class.
    """
    present = counts.sum(-1) > 0
    return ratio(np.where(present, per_class, 0.0).sum(-1), present.sum(-1).astype(float))


def auroc(weight: Weights, positive: Bool[np.ndarray, "examples"], score: Float[np.ndarray, "examples"]) -> Values:
    """Area under the ROC curve: the chance that a positive outscores a negative, a tie counting half.

    NaN where one side has no weight.
    """
    positives, negatives = _by_threshold(weight, positive, score)
    below = np.cumsum(negatives[:, ::-1], axis=-1)[:, ::-1] - negatives
    wins = (positives * (below + negatives / 2)).sum(-1)
    return ratio(wins, positives.sum(-1) * negatives.sum(-1))


def average_precision(
    weight: Weights, positive: Bool[np.ndarray, "examples"], score: Float[np.ndarray, "examples"]
) -> Values:
    """Mean precision over the positives in falling order of score, ties taken together.

    NaN where there is no positive; by chance it is the share of positives.
    """
    positives, negatives = _by_threshold(weight, positive, score)
    found = np.cumsum(positives, axis=-1)
    precisions = np.nan_to_num(ratio(found, found + np.cumsum(negatives, axis=-1)))
    return ratio((positives * precisions).sum(-1), positives.sum(-1))


def calibration_error(
    weight: Weights,
    confidence: Float[np.ndarray, "examples"],
    right: Bool[np.ndarray, "examples"],
    bins: int = 15,
) -> Values:
    """Expected calibration error: the mean gap between confidence and accuracy (Guo et al. 2017, eq. 3).

    Fifteen bins of equal width, as in the paper. The estimate is biased upwards on
    small samples.
    """
    member = np.eye(bins)[np.minimum((confidence * bins).astype(int), bins - 1)]
    gap = np.abs(weight @ (member * (confidence - right)[:, None])).sum(-1)
    return ratio(gap, weight.sum(-1))


def _by_threshold(
    weight: Weights, positive: Bool[np.ndarray, "examples"], score: Float[np.ndarray, "examples"]
) -> tuple[Float[np.ndarray, "resamples thresholds"], Float[np.ndarray, "resamples thresholds"]]:
    """Weight of positives and of negatives at each distinct score, from the highest down."""
    if not len(score):
        return np.zeros((len(weight), 1)), np.zeros((len(weight), 1))
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    ordered, is_positive = weight[:, order], positive[order]
    return (
        np.add.reduceat(ordered * is_positive, starts, axis=-1),
        np.add.reduceat(ordered * ~is_positive, starts, axis=-1),
    )
