"""Finds images that show one cell twice, which no split may divide.

Looks make a shortlist (`spermjax.data.resemblance`), registration decides
(`spermjax.data.registration`). Labels play no part, so that two labels of one cell come
to light.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from spermjax.data.registration import Alignment, align, detail, resized, turned, turned_point
from spermjax.data.resemblance import Guess, shortlist

Kind = Literal["identical", "near", "recrop", "turned"]

THRESHOLD = 0.74
"""Least score of a pair that lies as it is; different cells stay below it (see `find_duplicates`)."""
SEARCH_MARGIN = 0.06
"""How much more is asked of a pair that had to be turned or scaled, for more was tried to make it agree."""
_LEAST_OVERLAP = 0.4
_FIRST_LOOK = 0.55
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
        overlap: share of the smaller image that both show.
        scale: size of b's content in a, over its size in b.
    """

    a: int
    b: int
    kind: Kind
    score: float
    overlap: float
    scale: float


def find_duplicates(
    images: Sequence[UInt8[np.ndarray, "height width 3"]],
    *,
    threshold: float = THRESHOLD,
    advance: Callable[[], None] = lambda: None,
) -> list[Pair]:
    """All pairs of images that show one cell.

    Args:
        images: at their original sizes, which may differ.
        threshold: least score of a pair that is not identical; turned and scaled
            pairs need `SEARCH_MARGIN` more. Real cells that only look alike reach .73
            as they lie and .77 turned; one cell in two crops gives .9 and more. The same
            cell photographed twice with another focus gives .65 and more, so some such
            pairs are missed.
        advance: called once for each image, for progress.

    Returns:
        The pairs, ordered by their positions.
    """
    gray = [np.asarray(Image.fromarray(image).convert("L"), np.float32) for image in images]
    pairs = {(pair.a, pair.b): pair for pair in _identical(images)}
    guesses: dict[int, list[Guess]] = {}
    for guess in shortlist(gray):
        if (min(guess.a, guess.b), max(guess.a, guess.b)) not in pairs:
            guesses.setdefault(guess.a, []).append(guess)
    trial = _Trial(gray)

    def tried(first: int) -> list[Pair]:
        found = [pair for guess in guesses.get(first, []) if (pair := trial(guess)) and _agrees(pair, threshold)]
        advance()
        return found

    with ThreadPoolExecutor(_THREADS) as pool:
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
        Pair(a, b, "identical", 1.0, 1.0, 1.0)
        for same in seen.values()
        for position, a in enumerate(same)
        for b in same[position + 1 :]
    ]


def _agrees(pair: Pair, threshold: float) -> bool:
    searched = pair.kind == "turned" or max(pair.scale, 1 / pair.scale) > _REFOCUSED
    return pair.score >= threshold + SEARCH_MARGIN * searched


class _Trial:
    """Lays images over each other as guesses say: at reduced size first, where most fail, then at full size.

    Args:
        gray: intensities of all images, 0 to 255.
    """

    def __init__(self, gray: Sequence[Float[np.ndarray, "height width"]]):
        self._gray = gray
        self._details: dict[tuple[int, float], np.ndarray] = {}

    def __call__(self, guess: Guess) -> Pair | None:
        """The pair, if the two images agree enough to be looked at; `score` says how well."""
        look = self._align(guess, guess.scale, _REDUCTION)
        if look.score < _FIRST_LOOK or look.overlap < _LEAST_OVERLAP:
            return None
        scale, best = guess.scale, self._align(guess, guess.scale)
        step = 0.06
        while _REFINED_FROM <= best.score < _REFINED_TO and step > 0.01:
            candidates = [(other, self._align(guess, other)) for other in (scale / (1 + step), scale * (1 + step))]
            other, alignment = max(candidates, key=lambda candidate: candidate[1].score)
            if alignment.score > best.score:
                scale, best = other, alignment
            step /= 2
        if best.overlap < _LEAST_OVERLAP:
            return None
        still = abs(scale - 1) < 0.01 and max(abs(best.row), abs(best.column)) <= _SAME_FRAME_PX
        kind: Kind = "turned" if guess.variant else "near" if still else "recrop"
        a, b, scale = (guess.a, guess.b, scale) if guess.a < guess.b else (guess.b, guess.a, 1 / scale)
        return Pair(a, b, kind, best.score, best.overlap, scale)

    def _align(self, guess: Guess, scale: float, reduction: int = 1) -> Alignment:
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
