"""Lays one image over another and says how well they agree in detail.

Two photographs of different cells agree in their large forms: dark oval head on light
ground. What only the same cell shares is detail, so images are compared after local
contrast normalisation, where a faint tail or speck counts as much as a head's edge.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image
from scipy import fft, ndimage

VARIANTS = 8
"""Mirror images and turns by right angles: variant `4 * mirrored + quarter_turns`."""

_FINE_PX, _COARSE_PX, _NEIGHBOURHOOD_PX = 1.5, 5.0, 8.0
_CONTRAST_FLOOR = 3.0  # Gray levels: what is fainter is noise.
_REACH_PX = 10
_SMALLEST_OVERLAP_PX = 12
_BLOCK_PX = 20


def turned(image: Float[np.ndarray, "height width"], variant: int) -> Float[np.ndarray, "turned_height turned_width"]:
    """One of the eight mirror images and turns; 0 leaves the image as it is."""
    mirrored, quarters = divmod(variant, 4)
    return np.rot90(image[:, ::-1] if mirrored else image, quarters)


def turned_point(row: float, column: float, shape: tuple[int, int], variant: int) -> tuple[float, float]:
    """Where `turned` takes a point; the first pixel's centre is (0.5, 0.5)."""
    mirrored, quarters = divmod(variant, 4)
    height, width = shape
    if mirrored:
        column = width - column
    for _ in range(quarters):
        row, column, height, width = width - column, row, width, height
    return row, column


def resized(gray: Float[np.ndarray, "height width"], scale: float) -> Float[np.ndarray, "new_height new_width"]:
    """An image at another scale, antialiased."""
    if scale == 1:
        return gray
    height, width = (max(1, round(side * scale)) for side in gray.shape)
    return np.asarray(Image.fromarray(gray).resize((width, height), Image.Resampling.BILINEAR))


def detail(gray: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    """Local contrast between two scales, divided by its strength in the neighbourhood.

    Args:
        gray: intensities, 0 to 255.
    """
    band = ndimage.gaussian_filter(gray, _FINE_PX) - ndimage.gaussian_filter(gray, _COARSE_PX)
    strength = np.sqrt(ndimage.gaussian_filter(band * band, _NEIGHBOURHOOD_PX))
    return band / (strength + _CONTRAST_FLOOR)


@dataclasses.dataclass(frozen=True)
class Alignment:
    """How one image lies on another.

    Attributes:
        score: normalised cross-correlation of the detail in the overlap, -1 to 1.
        local: median of the same over small blocks of the overlap. Two heads of one form
            agree where the head is, and raise the score; one cell agrees in most blocks,
            for the ground has detail of its own.
        overlap: share of the smaller image that the overlap covers.
        row, column: of the first image's pixel on which the second's first pixel lies.
    """

    score: float
    local: float
    overlap: float
    row: int
    column: int


_NOWHERE = Alignment(-1.0, -1.0, 0.0, 0, 0)


def align(
    first: Float[np.ndarray, "height width"], second: Float[np.ndarray, "height2 width2"], row: int, column: int
) -> Alignment:
    """Moves one image's detail over another's to where the two agree best near a guess.

    Args:
        first: detail of the image that lies still.
        second: detail of the image that moves.
        row: row of the first image on which the second's first pixel lies; a guess,
            right within some ten pixels.
        column: likewise.
    """
    for _ in range(2):
        windows = _overlap(first, second, row, column)
        if windows is None:
            return _NOWHERE
        down, right = _shift(*windows)
        row, column = row + down, column + right
        if down == right == 0:
            break
    windows = _overlap(first, second, row, column)
    if windows is None:
        return _NOWHERE
    score = float(_correlation(*(window.reshape(1, -1) for window in windows))[0])
    local = float(np.median(_correlation(*map(_blocks, windows))))
    return Alignment(score, local, windows[0].size / min(first.size, second.size), row, column)


def _correlation(a: Float[np.ndarray, "n pixels"], b: Float[np.ndarray, "n pixels"]) -> Float[np.ndarray, "n"]:
    a, b = (x - x.mean(1, keepdims=True) for x in (a, b))
    return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1) + 1e-9)


def _blocks(window: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "blocks pixels"]:
    """The window's pixels in square blocks; what is left at its right and lower edge is not looked at."""
    side = min(_BLOCK_PX, min(window.shape) // 4)
    rows, columns = (length // side for length in window.shape)
    blocks = window[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return blocks.swapaxes(1, 2).reshape(rows * columns, side * side)


def _overlap(first: np.ndarray, second: np.ndarray, row: int, column: int) -> tuple[np.ndarray, np.ndarray] | None:
    top, bottom = max(0, row), min(first.shape[0], row + second.shape[0])
    left, right = max(0, column), min(first.shape[1], column + second.shape[1])
    if bottom - top < _SMALLEST_OVERLAP_PX or right - left < _SMALLEST_OVERLAP_PX:
        return None
    return first[top:bottom, left:right], second[top - row : bottom - row, left - column : right - column]


def _shift(first: np.ndarray, second: np.ndarray) -> tuple[int, int]:
    """The move of at most `_REACH_PX` with the largest cross-correlation of two equal windows."""
    taper = np.outer(*(np.hanning(length) for length in first.shape)).astype(np.float32)
    shape = tuple(fft.next_fast_len(length + _REACH_PX, real=True) for length in first.shape)
    spectra: Any = [fft.rfft2(window * taper, shape) for window in (first, second)]
    correlation: Any = fft.irfft2(spectra[0] * np.conj(spectra[1]), shape)
    near = np.roll(correlation, (_REACH_PX, _REACH_PX), (0, 1))[: 2 * _REACH_PX + 1, : 2 * _REACH_PX + 1]
    down, right = np.unravel_index(near.argmax(), near.shape)
    return int(down) - _REACH_PX, int(right) - _REACH_PX
