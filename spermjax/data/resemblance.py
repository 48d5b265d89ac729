"""Which images may show one cell: salient patches that look alike.

Each image is described by small patches around its most salient points, so that a cell
is found again wherever a crop has put it. Patches are compared in all eight mirror
images and turns, and at several scales. This makes a shortlist, not a verdict.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from PIL import Image
from scipy import ndimage
from skimage.feature import peak_local_max

from spermjax.data.registration import VARIANTS, turned

_SCALES = (1.0, 1.12, 1.26, 1.41)
SHORTLIST_STEPS = len(_SCALES) * (1 + VARIANTS)
"""How often `shortlist` reports progress."""
_REDUCTION = 5
_PATCH = 13
_POINTS = 6
_NEAREST = 4
_LEAST_RESEMBLANCE = 0.8
_COMPONENTS = 48
_RIDGE = 0.3
_ROWS = 1024


@dataclasses.dataclass(frozen=True)
class Guess:
    """Two images to be laid over each other: b turned, then scaled, then one of its points put on one of a's.

    Attributes:
        a, b: positions of the images.
        variant: how b is turned (`spermjax.data.registration.turned`).
        scale: by how much b is enlarged, at least 1.
        place_a, place_b: (row, column) of the two points in pixels of the images as they are.
    """

    a: int
    b: int
    variant: int
    scale: float
    place_a: tuple[float, float]
    place_b: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class _Patches:
    """Salient points of all images at one scale: whose they are, where, and how they look."""

    owner: Int[np.ndarray, "points"]
    place: Float[np.ndarray, "points 2"]
    pixels: Float[np.ndarray, "points side side"]


def shortlist(
    gray: Sequence[Float[np.ndarray, "height width"]], advance: Callable[[], None] = lambda: None
) -> list[Guess]:
    """For each salient point of each image, the few points of other images that look most like it.

    Args:
        gray: intensities of all images, 0 to 255, of any sizes.
        advance: called `SHORTLIST_STEPS` times, for progress.

    Returns:
        One guess for each pair, turn and scale among them: the best.
    """
    moving = []
    for scale in _SCALES:
        moving.append(_patches(gray, scale))
        advance()
    still = moving[0]
    if not len(still.owner):
        return []
    describe = _whitening(still.pixels)
    described = describe(still.pixels)
    best = np.full((len(described), _NEAREST), _LEAST_RESEMBLANCE, np.float32)
    source = np.full((len(described), _NEAREST, 3), -1)
    for number, patches in enumerate(moving):
        own = _own_points(still.owner, patches.owner)
        for variant in range(VARIANTS if len(patches.owner) else 0):
            advance()
            others = describe(np.stack([turned(patch, variant) for patch in patches.pixels]))
            others = np.pad(others, ((0, 1), (0, 0)))
            for start in range(0, len(described), _ROWS):
                rows = slice(start, start + _ROWS)
                alike = described[rows] @ others.T
                np.put_along_axis(alike, own[rows], -1.0, 1)
                nearest = alike.argmax(1)
                values = np.column_stack([best[rows], np.take_along_axis(alike, nearest[:, None], 1)])
                origin = np.stack([np.full_like(nearest, number), np.full_like(nearest, variant), nearest], -1)
                origins = np.concatenate([source[rows], origin[:, None]], 1)
                order = np.argsort(-values, 1, kind="stable")[:, :_NEAREST]
                best[rows] = np.take_along_axis(values, order, 1)
                source[rows] = np.take_along_axis(origins, order[..., None], 1)
    chosen: dict[tuple[int, int, int, float], tuple[float, Guess]] = {}
    for point, rank in zip(*np.nonzero(source[..., 0] >= 0), strict=True):
        number, variant, other = (int(value) for value in source[point, rank])
        patches, alike = moving[number], float(best[point, rank])
        a, b = int(still.owner[point]), int(patches.owner[other])
        guess = Guess(a, b, variant, _SCALES[number], tuple(still.place[point]), tuple(patches.place[other]))
        if a > b and guess.scale == 1:
            guess = Guess(b, a, _undone(variant), 1.0, guess.place_b, guess.place_a)
        key = guess.a, guess.b, guess.variant, guess.scale
        if key not in chosen or alike > chosen[key][0]:
            chosen[key] = alike, guess
    return [guess for _, guess in chosen.values()]


def _own_points(owner: Int[np.ndarray, "points"], others: Int[np.ndarray, "others"]) -> Int[np.ndarray, "points own"]:
    """For each point the points of its own image; the number after the last fills up."""
    first, last = np.searchsorted(others, owner, "left"), np.searchsorted(others, owner, "right")
    columns = first[:, None] + np.arange(_POINTS)
    return np.where(columns < last[:, None], columns, len(others))


def _undone(variant: int) -> int:
    """The variant that takes back another: a mirror image is its own inverse."""
    return variant if variant >= 4 else -variant % 4


def _patches(gray: Sequence[np.ndarray], scale: float) -> _Patches:
    """Patches around the points where an image, much reduced, differs most from its surroundings."""
    owner, place, pixels = [], [], []
    for index, image in enumerate(gray):
        height, width = (max(8, round(side * scale / _REDUCTION)) for side in image.shape)
        small = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        salience = np.abs(ndimage.gaussian_filter(small, 1.0) - ndimage.gaussian_filter(small, 2.5))
        padded = np.pad(small, _PATCH // 2, mode="edge")
        inner = salience[2:-2, 2:-2]
        for row, column in peak_local_max(inner, min_distance=2, num_peaks=_POINTS, exclude_border=False) + 2:
            owner.append(index)
            place.append((np.array([row, column]) + 0.5) * image.shape / np.array(small.shape))
            pixels.append(padded[row : row + _PATCH, column : column + _PATCH])
    count = len(owner)
    return _Patches(
        np.array(owner, int),
        np.reshape(np.array(place, float), (count, 2)),
        np.reshape(np.array(pixels, np.float32), (count, _PATCH, _PATCH)),
    )


def _whitening(
    patches: Float[np.ndarray, "points side side"],
) -> Callable[[np.ndarray], Float[np.ndarray, "n features"]]:
    """A description of patches in which what all of them share counts little.

    Principal components of the patches in all variants, each divided by its standard
    deviation, so that an oval dark head, which every image has, does not decide.
    """
    every = np.concatenate(
        [_normalised(np.stack([turned(p, variant) for p in patches])) for variant in range(VARIANTS)]
    )
    variance, axes = np.linalg.eigh(every.T @ every / len(every))
    variance, axes = variance[-_COMPONENTS:], axes[:, -_COMPONENTS:]
    weights = (axes / np.sqrt(variance + _RIDGE * variance.mean() + 1e-9)).astype(np.float32)

    def describe(pixels: np.ndarray) -> np.ndarray:
        described = _normalised(pixels) @ weights
        return described / (np.linalg.norm(described, axis=1, keepdims=True) + 1e-9)

    return describe


def _normalised(patches: Float[np.ndarray, "points side side"]) -> Float[np.ndarray, "points pixels"]:
    flat = patches.reshape(len(patches), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-3)
