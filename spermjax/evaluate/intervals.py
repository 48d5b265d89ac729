"""Intervals: what a number measured on a sample says about all cells.

Examples of one group (a patient, a source field, a cluster of duplicates) are not
independent; the group is what is resampled. The bootstrap works on weights: a
resample is the vector of how often each example was drawn, so any statistic that
takes weighted examples is evaluated on many resamples in one call.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import scipy
from jaxtyping import Float, Int, Shaped

Statistics = Callable[[Float[np.ndarray, "resamples examples"]], Mapping[str, Float[np.ndarray, "resamples"]]]

LEVEL = 0.95
RESAMPLES = 2000
JACKKNIFE_BLOCKS = 500
CHUNK_VALUES = 2_000_000


@dataclasses.dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
        value: the estimate; NaN where it is undefined.
        low, high: bounds; NaN where there are none (one group only, say).
        n: number of examples on which the estimate is defined.
    """

    value: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, float | int | None]:
        """JSON-able, with NaN as None."""
        return {name: None if value != value else value for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Interval":
        """The inverse of `to_dict`."""
        bounds = (math.nan if value[name] is None else float(value[name]) for name in ("value", "low", "high"))
        return cls(*bounds, n=int(value["n"]))


def wilson(
    hits: Float[np.ndarray, "examples"],
    group: Shaped[np.ndarray, "examples"] | None = None,
    level: float = LEVEL,
) -> Interval:
    """The score interval of a proportion (Wilson 1927), for clustered examples too.

    Where groups hold several examples, the sample size is divided by the design
    effect, the ratio of the clustered variance to the binomial one, at least 1 (Korn &
    Graubard 1998; with the score interval, Dean & Pagano 2015). Where all examples
    agree no design effect can be estimated, and the groups are what is counted.

    Args:
        hits: 1 for a success, 0 for a failure, NaN where undefined.
        group: what each example belongs to; None for independent examples.
        level: coverage.

    Returns:
        The proportion with its interval; `n` counts the defined examples.
    """
    defined = ~np.isnan(hits)
    hits = hits[defined]
    n = len(hits)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    rate = float(hits.mean())
    effective = n / _design_effect(hits - rate, _codes(group[defined] if group is not None else None, n))
    z = float(scipy.special.ndtri(0.5 + level / 2))
    centre = (rate + z * z / (2 * effective)) / (1 + z * z / effective)
    half = z * math.sqrt(rate * (1 - rate) / effective + (z / (2 * effective)) ** 2) / (1 + z * z / effective)
    return Interval(rate, max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half)), n)


def bootstrap(
    statistics: Statistics,
    n: int,
    group: Shaped[np.ndarray, "examples"] | None = None,
    *,
    method: Literal["bca", "percentile"] = "bca",
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Bootstrap intervals of statistics over examples drawn by group (Efron 1987; Field & Welsh 2007).

    Resamples in which a statistic is undefined (NaN) are left out of its distribution.
    A statistic has no bounds where fewer than half of the resamples define it, or where
    there is one group. Where all resamples agree the interval is that one value: it
    says that the resamples can't tell, not that the truth is known; for proportions
    take `wilson`. BCa's acceleration is taken from a jackknife over groups, joined into
    at most 500 blocks where there are more; where its bias correction is infinite (the
    estimate lies outside its own distribution) the percentile interval is returned.

    Args:
        statistics: `weights[resamples, examples] -> {name: values[resamples]}`. A weight
            is how often an example is counted; ones give the estimate itself.
        n: number of examples.
        group: what each example belongs to; None for independent examples.
        method: `bca` is second-order correct, `percentile` needs no jackknife.
        level: coverage.
        resamples: number of resamples.
        seed: of the draw.

    Returns:
        An interval for each statistic, with `n` as its sample size.
    """
    if n == 0:
        return {name: Interval(math.nan, math.nan, math.nan, 0) for name in statistics(np.ones((1, 0)))}
    codes = _codes(group, n)
    groups = int(codes.max()) + 1
    estimate = {name: float(value[0]) for name, value in statistics(np.ones((1, n))).items()}
    if groups == 1:
        return {name: Interval(value, math.nan, math.nan, n) for name, value in estimate.items()}
    drawn = _evaluate(statistics, _resampled(codes, groups, resamples, seed))
    left_out = _evaluate(statistics, _jackknife(codes, groups)) if method == "bca" else None
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    result = {}
    for name, value in estimate.items():
        sample = drawn[name][~np.isnan(drawn[name])]
        if math.isnan(value) or len(sample) < resamples / 2:
            result[name] = Interval(value, math.nan, math.nan, n)
            continue
        shares = tails if left_out is None else _bca_shares(value, sample, left_out[name], tails)
        low, high = np.quantile(sample, shares)
        result[name] = Interval(value, float(low), float(high), n)
    return result


def mean(
    values: Float[np.ndarray, "examples"], group: Shaped[np.ndarray, "examples"] | None = None, **options: Any
) -> Interval:
    """The mean of a per-example metric over the examples that define it.

    Args:
        values: one value per example, NaN where undefined.
        group: what each example belongs to; None for independent examples.
        **options: of `bootstrap`.

    Returns:
        The mean with its interval; `n` counts the defined examples.
    """
    defined = ~np.isnan(values)
    kept = values[defined].astype(np.float64)
    kept_group = group[defined] if group is not None else None
    if not len(kept):
        return Interval(math.nan, math.nan, math.nan, 0)
    return bootstrap(lambda weight: {"mean": weight @ kept / weight.sum(-1)}, len(kept), kept_group, **options)["mean"]


def _codes(group: Shaped[np.ndarray, "examples"] | None, n: int) -> Int[np.ndarray, "examples"]:
    """Groups as integers from 0; each example its own group where none are given."""
    return np.arange(n) if group is None else np.unique(group, return_inverse=True)[1]


def _design_effect(residual: Float[np.ndarray, "examples"], codes: Int[np.ndarray, "examples"]) -> float:
    n, groups = len(residual), int(codes.max()) + 1
    binomial = float(np.sum(residual**2))
    if binomial == 0 or groups == 1:
        return n / groups
    clustered = float(np.sum(np.bincount(codes, residual) ** 2))
    return max(1.0, clustered * groups / (groups - 1) / (binomial * n / (n - 1)))


def _resampled(
    codes: Int[np.ndarray, "examples"], groups: int, resamples: int, seed: int
) -> Iterator[Float[np.ndarray, "chunk examples"]]:
    """Weights of bootstrap resamples, in chunks that bound the memory."""
    rng = np.random.default_rng(seed)
    chunk = max(1, CHUNK_VALUES // len(codes))
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = rng.integers(0, groups, (rows, groups)) + groups * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups)
        yield counts[:, codes].astype(np.float64)


def _jackknife(codes: Int[np.ndarray, "examples"], groups: int) -> Iterator[Float[np.ndarray, "chunk examples"]]:
    """Weights that leave out one block of groups at a time."""
    blocks = min(groups, JACKKNIFE_BLOCKS)
    block = codes * blocks // groups
    chunk = max(1, CHUNK_VALUES // len(codes))
    for start in range(0, blocks, chunk):
        left_out = np.arange(start, min(start + chunk, blocks))
        yield (block != left_out[:, None]).astype(np.float64)


def _evaluate(
    statistics: Statistics, weights: Iterator[Float[np.ndarray, "chunk examples"]]
) -> dict[str, Float[np.ndarray, "resamples"]]:
    chunks = [statistics(weight) for weight in weights]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _bca_shares(
    value: float,
    sample: Float[np.ndarray, "resamples"],
    left_out: Float[np.ndarray, "blocks"],
    tails: Float[np.ndarray, "2"],
) -> Float[np.ndarray, "2"]:
    """The quantiles that BCa reads instead of the nominal ones (Efron 1987, equations 2.3 and 6.5)."""
    bias = scipy.special.ndtri((np.mean(sample < value) + np.mean(sample <= value)) / 2)
    if not np.isfinite(bias):
        return tails
    influence = np.nanmean(left_out) - left_out if not np.isnan(left_out).all() else np.zeros(1)
    spread = np.nansum(influence**2) ** 1.5
    acceleration = np.nansum(influence**3) / (6 * spread) if spread > 0 else 0.0
    shifted = bias + scipy.special.ndtri(tails)
    return scipy.special.ndtr(bias + shifted / (1 - acceleration * shifted))
