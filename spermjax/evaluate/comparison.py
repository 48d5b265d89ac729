"""Two methods, or two runs, on the same examples: is one better, and how sure is that?

Examples of one group are not independent, so a group's differences change sign, and
are resampled, together.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import scipy
from jaxtyping import Bool, Float, Shaped

from spermjax.evaluate.intervals import Interval, mean

PERMUTATIONS = 10_000

Correction = Literal["holm", "benjamini_hochberg"]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The difference between two of the things that were measured.

    Attributes:
        first, second: their names.
        difference: mean of first minus second, over the examples that define both.
        p: of the paired test, two-sided.
        p_adjusted: the same, corrected for the number of comparisons.
    """

    first: str
    second: str
    difference: Interval
    p: float
    p_adjusted: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with NaN as None."""
        return {
            "first": self.first,
            "second": self.second,
            **self.difference.to_dict(),
            "p": None if np.isnan(self.p) else self.p,
            "p_adjusted": None if np.isnan(self.p_adjusted) else self.p_adjusted,
        }


def compare(
    values: Mapping[str, Float[np.ndarray, "examples"]],
    group: Shaped[np.ndarray, "examples"] | None = None,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    correction: Correction = "holm",
    seed: int = 0,
) -> list[Comparison]:
    """Paired comparisons of one metric.

    Args:
        values: by method or run, one value per example; NaN where undefined.
        group: what each example belongs to; None for independent examples.
        pairs: names to compare; None for all pairs.
        correction: for the number of pairs: `holm` bounds the chance of one false claim,
            `benjamini_hochberg` the share of false claims.
        seed: of resamples and permutations.
    """
    chosen = list(itertools.combinations(values, 2)) if pairs is None else list(pairs)
    differences = [np.asarray(values[a], np.float64) - np.asarray(values[b], np.float64) for a, b in chosen]
    p = np.array([paired_permutation(difference, group, seed=seed) for difference in differences])
    adjusted = {"holm": holm, "benjamini_hochberg": benjamini_hochberg}[correction](p)
    return [
        Comparison(a, b, mean(difference, group, seed=seed), float(raw), float(corrected))
        for (a, b), difference, raw, corrected in zip(chosen, differences, p, adjusted, strict=True)
    ]


def paired_permutation(
    difference: Float[np.ndarray, "examples"],
    group: Shaped[np.ndarray, "examples"] | None = None,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> float:
    """P of a mean difference as great under random signs, two-sided (Fisher 1935).

    Args:
        difference: of two measurements of each example, NaN where undefined.
        group: what changes sign together; None for independent examples.
        permutations: drawn, where there are more; all are taken where there are fewer.
        seed: of the draw.

    Returns:
        p, at least one over the number of permutations; NaN without a defined example.
    """
    defined = ~np.isnan(difference)
    kept = difference[defined]
    if not len(kept):
        return float("nan")
    codes = np.arange(len(kept)) if group is None else np.unique(group[defined], return_inverse=True)[1]
    sums = np.bincount(codes, kept)
    observed = abs(sums.sum())
    # Rounding must not tell apart sums that are equal.
    enough = observed - 1e-12 * np.abs(sums).sum()
    if 2 ** len(sums) <= permutations:
        bits = (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))) & 1
        return float((np.abs((1 - 2 * bits) @ sums) >= enough).mean())
    rng = np.random.default_rng(seed)
    chunk = max(1, 2_000_000 // len(sums))
    as_great = sum(
        int((np.abs(rng.choice([-1.0, 1.0], (min(chunk, permutations - start), len(sums))) @ sums) >= enough).sum())
        for start in range(0, permutations, chunk)
    )
    return (as_great + 1) / (permutations + 1)


def mcnemar(first: Bool[np.ndarray, "examples"], second: Bool[np.ndarray, "examples"]) -> float:
    """Exact p that two classifiers are right equally often, by the examples on which they differ (McNemar 1947).

    It takes examples as independent; where groups hold several, use `paired_permutation`
    of the two columns' difference.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(scipy.stats.binomtest(only_first, only_first + only_second).pvalue)


def holm(p: Float[np.ndarray, "tests"]) -> Float[np.ndarray, "tests"]:
    """P values adjusted so that the chance of any false claim stays below the level (Holm 1979)."""
    return _step(p, lambda ordered, count: np.maximum.accumulate(ordered * (count - np.arange(count))))


def benjamini_hochberg(p: Float[np.ndarray, "tests"]) -> Float[np.ndarray, "tests"]:
    """P values adjusted so that the expected share of false claims stays below the level (1995)."""

    def adjust(ordered: np.ndarray, count: int) -> np.ndarray:
        return np.minimum.accumulate((ordered * count / np.arange(1, count + 1))[::-1])[::-1]

    return _step(p, adjust)


def _step(p: Float[np.ndarray, "tests"], adjust: Any) -> Float[np.ndarray, "tests"]:
    """Adjusts the defined ones in ascending order; NaN is no test."""
    adjusted = np.full(len(p), np.nan)
    defined = np.flatnonzero(~np.isnan(p))
    order = defined[np.argsort(p[defined], kind="stable")]
    adjusted[order] = np.minimum(adjust(p[order], len(order)), 1.0)
    return adjusted


def kendall_w(scores: Float[np.ndarray, "examples raters items"]) -> Float[np.ndarray, "examples"]:
    """Agreement of raters on the order of items (Kendall & Babington Smith 1939), with correction for ties.

    Args:
        scores: such as the patches' values in each method's map; the scale of a rater
            does not matter, tied items share their rank.

    Returns:
        From 0 to 1, where all order alike; NaN where a score isn't finite, for one rater,
        and where all raters tie all items.
    """
    _, raters, items = scores.shape
    finite = np.asarray(np.isfinite(scores).all(axis=(1, 2)))
    if raters < 2 or items < 2:
        return np.full(len(scores), np.nan)
    ranks = np.asarray(scipy.stats.rankdata(np.where(finite[:, None, None], scores, 0.0), axis=2))
    spread = ((ranks.sum(1) - raters * (items + 1) / 2) ** 2).sum(1)
    tied = np.apply_along_axis(_ties, 2, ranks).sum(1)
    possible = raters**2 * (items**3 - items) - raters * tied
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(finite & (possible > 0), 12 * spread / possible, np.nan)


def _ties(ranks: Float[np.ndarray, "items"]) -> float:
    counts = np.unique(ranks, return_counts=True)[1].astype(np.float64)
    return float((counts**3 - counts).sum())
