"""Means over seeds and folds, paired differences, effect sizes and ranks."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float
from scipy import stats

from spermjax.evaluate.intervals import LEVEL, Interval


def over_runs(values: Float[np.ndarray, "runs"]) -> Interval:
    """The mean over runs with Student's interval; no bounds for fewer than two."""
    kept = values[~np.isnan(values)]
    if len(kept) < 2:
        return Interval(float(kept.mean()) if len(kept) else math.nan, math.nan, math.nan, len(kept))
    half = float(stats.t.ppf(0.5 + LEVEL / 2, len(kept) - 1) * kept.std(ddof=1) / math.sqrt(len(kept)))
    centre = float(kept.mean())
    return Interval(centre, centre - half, centre + half, len(kept))


@dataclasses.dataclass(frozen=True)
class Paired:
    """The difference of two variants over matched runs.

    Attributes:
        difference: mean of first minus second, with its interval.
        p: two-sided.
        effect: mean difference over its standard deviation, shrunk for few pairs
            (Hedges & Olkin 1985); NaN where all differences agree.
    """

    difference: Interval
    p: float
    effect: float


def paired(differences: Float[np.ndarray, "pairs"], test_share: float = 0.0) -> Paired:
    """Student's paired test over matched runs, corrected for folds that share training cells.

    Folds of one data set overlap in what they train on, so the variance of the mean is
    (1/n + test/train) s^2 instead of s^2/n (Nadeau & Bengio 2003, equation 8).

    Args:
        differences: one for each pair of runs with the same seed and fold.
        test_share: cells scored over cells trained on, where the pairs differ in fold; 0 where
            they differ in the seed alone.
    """
    kept = differences[~np.isnan(differences)]
    n = len(kept)
    if n < 2:
        value = float(kept.mean()) if n else math.nan
        return Paired(Interval(value, math.nan, math.nan, n), math.nan, math.nan)
    mean, deviation = float(kept.mean()), float(kept.std(ddof=1))
    error = deviation * math.sqrt(1 / n + test_share)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1)) * error
    interval = Interval(mean, mean - half, mean + half, n)
    if error == 0:
        return Paired(interval, 1.0 if mean == 0 else 0.0, math.nan)
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return Paired(interval, p, mean / deviation * (1 - 3 / (4 * (n - 1) - 1)))


@dataclasses.dataclass(frozen=True)
class Ranks:
    """Mean ranks of variants over matched runs.

    Attributes:
        mean: by variant; 1 is best, ties share.
        critical_difference: of two mean ranks at 5 % (Nemenyi; Demsar 2006); NaN where not defined.
        p: of Friedman's test that all variants rank alike; NaN for fewer than three variants.
        blocks: matched sets of runs.
    """

    mean: Float[np.ndarray, "variants"]
    critical_difference: float
    p: float
    blocks: int


def ranks(values: Float[np.ndarray, "blocks variants"], *, higher_is_better: bool) -> Ranks | None:
    """Ranks the variants within each complete block; None where no block is complete.

    Args:
        values: a row for each seed, fold and setting of the other factors.
        higher_is_better: rank 1 is the highest.
    """
    complete = values[~np.isnan(values).any(1)]
    blocks, variants = complete.shape
    if blocks == 0 or variants < 2:
        return None
    ranked = np.asarray(stats.rankdata(-complete if higher_is_better else complete, axis=1))
    quantile = float(stats.studentized_range.ppf(LEVEL, variants, math.inf)) / math.sqrt(2)
    critical = quantile * math.sqrt(variants * (variants + 1) / (6 * blocks)) if blocks > 1 else math.nan
    differ = variants > 2 and blocks > 1 and not np.all(complete == complete[:, :1])
    p = float(stats.friedmanchisquare(*complete.T).pvalue) if differ else math.nan
    return Ranks(ranked.mean(0), critical, p, blocks)
