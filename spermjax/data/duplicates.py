"""Finds images that show one cell twice, which no split may divide.

Looks make a shortlist (`spermjax.data.resemblance`), registration decides
(`spermjax.data.registration`). Labels play no part, so that two labels of one cell come
to light.
"""

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from spermjax.data.progress import bar
from spermjax.data.registration import Alignment, align, detail, resized, turned, turned_point
from spermjax.data.resemblance import SHORTLIST_STEPS, Guess, shortlist

Kind = Literal["identical", "near", "recrop", "turned"]

LEAST_SCORE, LEAST_LOCAL = 0.74, 0.4
"""Agreement overall, and in the median block, either of which shows one cell."""
_SCORE_MARGIN, _LOCAL_MARGIN = 0.06, 0.1  # For a pair that was turned or scaled: more was tried to make it agree.
_SPREADS = 2.1
_SAMPLE, _FEW = 600, 100
_LEAST_OVERLAP = 0.4
_FIRST_LOOK, _FIRST_LOOK_MARGIN = 0.55, 0.1
_REDUCTION = 2
_REFINED_FROM, _REFINED_TO = 0.6, 0.9
_REFOCUSED = 1.12  # Another focus also changes the magnification, by up to a tenth in SMIDS.
_SAME_FRAME_PX = 3
_THREADS = min(8, os.cpu_count() or 1)


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two images of one cell.

    Attributes:
        a, b: positions of the images, a < b.
        kind: `identical` (every pixel), `near` (one frame, photographed or stored
            twice), `recrop` (another frame or scale), `turned` (mirrored or turned by
            right angles as well).
        score: agreement in detail, at most 1.
        local: the same in the median of small blocks.
        overlap: share of the smaller image that both show.
        scale: size of b's content in a, over its size in b.
    """

    a: int
    b: int
    kind: Kind
    score: float
    local: float
    overlap: float
    scale: float


def find_duplicates(
    images: Sequence[UInt8[np.ndarray, "height width 3"]],
    *,
    progress: bool = True,
) -> list[Pair]:
    """All pairs of images that show one cell.

    Two images show one cell when their detail agrees overall or in most places, and more
    than in images of this set that only look alike. A pair that had to be turned or
    scaled must agree more. The thresholds are those that divided pairs of SMIDS, HuSHeM
    and MHSMA that were judged by eye; `docs/data_check.md` counts both kinds of error.

    Args:
        images: at their original sizes, which may differ.
        progress: show bars on the standard error stream, if that is a terminal.

    Returns:
        The pairs, ordered by their positions.
    """
    gray = [np.asarray(Image.fromarray(image).convert("L"), np.float32) for image in images]
    pairs = {(pair.a, pair.b): pair for pair in _identical(images)}
    guesses: dict[int, list[Guess]] = {}
    with bar("looking for likely pairs", SHORTLIST_STEPS, progress) as advance:
        for guess in shortlist(gray, advance):
            if (min(guess.a, guess.b), max(guess.a, guess.b)) not in pairs:
                guesses.setdefault(guess.a, []).append(guess)
    trial = _Trial(gray)
    level = _lookalike_level(trial, [guess for of_one in guesses.values() for guess in of_one])
    with bar("comparing", len(images), progress) as advance, ThreadPoolExecutor(_THREADS) as pool:

        def tried(first: int) -> list[Pair]:
            found = [pair for guess in guesses.get(first, []) if (pair := trial(guess, level)) and _agrees(pair, level)]
            advance()
            return found

        for pair in (pair for found in pool.map(tried, range(len(images))) for pair in found):
            known = pairs.get((pair.a, pair.b))
            if known is None or pair.score > known.score:
                pairs[pair.a, pair.b] = pair
    return [pairs[key] for key in sorted(pairs)]


def clusters(pairs: Sequence[Pair], count: int, groups: Sequence[str] | None = None) -> Int[np.ndarray, "count"]:
    """Numbers the sets of images that hang together, over any chain of pairs.

    Args:
        pairs: what `find_duplicates` found.
        count: number of images.
        groups: what is known to belong together already, such as a patient or a field;
            images of one group share a number as well.

    Returns:
        A number for each image, from 0.
    """
    edges = [(pair.a, pair.b) for pair in pairs]
    first: dict[str, int] = {}
    for index, group in enumerate(groups or ()):
        edges.append((first.setdefault(group, index), index))
    rows, columns = np.array(edges, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _identical(images: Sequence[np.ndarray]) -> list[Pair]:
    """Pairs with the same size and pixels."""
    seen: dict[tuple[Any, bytes], list[int]] = {}
    for index, image in enumerate(images):
        seen.setdefault((image.shape, image.tobytes()), []).append(index)
    return [
        Pair(a, b, "identical", 1.0, 1.0, 1.0, 1.0)
        for same in seen.values()
        for position, a in enumerate(same)
        for b in same[position + 1 :]
    ]


def _agrees(pair: Pair, level: float) -> bool:
    searched = pair.kind == "turned" or max(pair.scale, 1 / pair.scale) > _REFOCUSED
    overall = pair.score >= LEAST_SCORE + _SCORE_MARGIN * searched
    all_over = pair.local >= LEAST_LOCAL + _LOCAL_MARGIN * searched
    return pair.score >= level and (overall or all_over)


def _lookalike_level(trial: "_Trial", guesses: Sequence[Guess]) -> float:
    """The score that images of this set hardly reach when they only look alike.

    Blurred heads that fill their image agree better than sharp ones with debris around
    them, so the level is read off the set itself. Nearly all guesses are wrong: on
    Fisher's scale their median and quartiles are those of look-alikes, however many
    duplicates are among the best of them.
    """
    if len(guesses) < _FEW:
        return -1.0
    chosen = np.linspace(0, len(guesses) - 1, min(len(guesses), _SAMPLE)).astype(int)
    scores = np.array([trial.align(guesses[i], guesses[i].scale).score for i in chosen])
    low, middle, high = np.quantile(np.arctanh(scores.clip(-0.999, 0.999)), (0.25, 0.5, 0.75))
    return float(np.tanh(middle + _SPREADS * (high - low)))


class _Trial:
    """Lays images over each other as guesses say: at reduced size first, where most fail, then at full size.

    Args:
        gray: intensities of all images, 0 to 255.
    """

    def __init__(self, gray: Sequence[Float[np.ndarray, "height width"]]):
        self._gray = gray
        self._details: dict[tuple[int, float], np.ndarray] = {}

    def __call__(self, guess: Guess, level: float) -> Pair | None:
        """The pair, if the two images agree enough to be looked at; `score` says how well.

        Args:
            guess: how they may lie.
            level: score that the pair will have to reach.
        """
        look = self.align(guess, guess.scale, _REDUCTION)
        if look.score < max(_FIRST_LOOK, level - _FIRST_LOOK_MARGIN) or look.overlap < _LEAST_OVERLAP:
            return None
        scale, best = guess.scale, self.align(guess, guess.scale)
        step = 0.06
        while _REFINED_FROM <= best.score < _REFINED_TO and step > 0.01:
            candidates = [(other, self.align(guess, other)) for other in (scale / (1 + step), scale * (1 + step))]
            other, alignment = max(candidates, key=lambda candidate: candidate[1].score)
            if alignment.score > best.score:
                scale, best = other, alignment
            step /= 2
        if best.overlap < _LEAST_OVERLAP:
            return None
        still = abs(scale - 1) < 0.01 and max(abs(best.row), abs(best.column)) <= _SAME_FRAME_PX
        kind: Kind = "turned" if guess.variant else "near" if still else "recrop"
        a, b, scale = (guess.a, guess.b, scale) if guess.a < guess.b else (guess.b, guess.a, 1 / scale)
        return Pair(a, b, kind, best.score, best.local, best.overlap, scale)

    def align(self, guess: Guess, scale: float, reduction: int = 1) -> Alignment:
        """How the two images of a guess lie on each other, in pixels of the first, reduced."""
        point = turned_point(*guess.place_b, self._gray[guess.b].shape, guess.variant)
        row, column = (round((a - b * scale) / reduction) for a, b in zip(guess.place_a, point, strict=True))
        moving = turned(self._detail(guess.b, scale / reduction), guess.variant)
        return align(self._detail(guess.a, 1 / reduction), moving, row, column)

    def _detail(self, index: int, scale: float) -> np.ndarray:
        """Detail of one image at one scale; what many guesses need is kept, what refinement needs is not."""
        key = index, scale
        if key in self._details:
            return self._details[key]
        computed = detail(resized(self._gray[index], scale))
        if scale <= 1:
            self._details[key] = computed
        return computed
