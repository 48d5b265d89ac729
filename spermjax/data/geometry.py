"""Brings images and part masks of any size to the one square that a model sees.

Runs on the host, once for each example; random changes of training follow on the
device. Image and masks always move together.
"""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy import ndimage

from spermjax import parts as parts_lib
from spermjax.clinic.axis import head_axis

_TRACE = 0.01  # Coverage of a pixel below which interpolation, not a part, is seen.


def fit(
    image: UInt8[np.ndarray, "height width 3"],
    parts: UInt8[np.ndarray, "height width"],
    *,
    size: int,
    crop: int | None = None,
    align_head: bool = False,
) -> tuple[UInt8[np.ndarray, "size size 3"], UInt8[np.ndarray, "size size"]]:
    """Rotates, crops, pads and resizes one example.

    The square that is kept lies in the middle of the image. Where it reaches
    beyond the image, pixels repeat the border and parts are absent. The image is
    resized by antialiased bilinear interpolation, the masks by `resize_parts`.

    Args:
        image: pixels, 0 to 255.
        parts: part bits as `spermjax.parts.pack` makes them; zeros where there are none.
        size: side of the result in pixels.
        crop: side in source pixels of the square that is kept, also for an image
            that is smaller, so that all cells keep one scale; by default the
            longer side of the image.
        align_head: turn the image about its centre so that the head's long axis
            points up with the acrosome (or, without one, the side away from the
            midpiece) on top. An example whose masks tell no axis is left as it is.

    Returns:
        The image and its part bits.
    """
    side = crop or max(image.shape[:2])
    axis = head_axis(parts) if align_head else np.full(2, np.nan)
    if np.isnan(axis).any():
        square = _central_square(image, side, "edge")
        coverage = parts_lib.unpack(_central_square(parts, side, "constant")).astype(np.float32)
    else:
        square = _rotated_square(image, side, axis, "edge", Image.Resampling.BICUBIC)
        masks = parts_lib.unpack(parts)
        coverage = np.zeros((side, side, len(parts_lib.PARTS)), np.float32)
        for part in np.flatnonzero(masks.any((0, 1))):
            mask = np.uint8(255) * masks[..., part]
            coverage[..., part] = _rotated_square(mask, side, axis, "constant", Image.Resampling.BILINEAR) / 255.0
    small = Image.fromarray(square).resize((size, size), Image.Resampling.BILINEAR)
    return np.array(small), resize_parts(coverage, size)


def resize_parts(coverage: Float[np.ndarray, "side side parts"], size: int) -> UInt8[np.ndarray, "size size"]:
    """Part coverage of one square at another size, with no visible piece lost.

    A pixel bears a part that covers at least half of it. A connected piece of a
    part that covers no pixel by half (a small vacuole, a thin tail cut short by
    the border) keeps the one pixel that it covers most.

    Args:
        coverage: share of each pixel that each part covers, 0 to 1.
        size: side of the result in pixels.

    Returns:
        Part bits.
    """
    masks = np.zeros((size, size, coverage.shape[-1]), bool)
    for part in np.flatnonzero(coverage.max((0, 1)) > _TRACE):
        resized = Image.fromarray(coverage[..., part]).resize((size, size), Image.Resampling.BOX)
        covered = np.asarray(resized)
        masks[..., part] = covered >= 0.5
        pieces, count = ndimage.label(covered > 0, structure=np.ones((3, 3)))
        numbers = np.arange(1, count + 1)
        lost = numbers[ndimage.maximum(covered, pieces, numbers) < 0.5]
        for row, column in ndimage.maximum_position(covered, pieces, lost) if len(lost) else ():
            masks[row, column, part] = True
    return parts_lib.pack(masks)


def _central_square(array: np.ndarray, side: int, mode: str) -> np.ndarray:
    """The central `side` x `side` pixels, padded where the array is smaller."""
    height, width = array.shape[:2]
    top, left = (height - side) // 2, (width - side) // 2
    inside = array[max(top, 0) : max(top, 0) + side, max(left, 0) : max(left, 0) + side]
    before = max(-top, 0), max(-left, 0)
    padding = [(start, side - start - length) for start, length in zip(before, inside.shape[:2], strict=True)]
    return np.pad(inside, [*padding, *[(0, 0)] * (array.ndim - 2)], mode=mode)  # pyright: ignore[reportCallIssue, reportArgumentType]


def _rotated_square(
    array: np.ndarray, side: int, up: np.ndarray, mode: str, resampling: Image.Resampling
) -> np.ndarray:
    """The central square after a turn about the centre that brings the direction `up` to the top."""
    # Wide enough for the corners of the turned square and the support of the filter.
    wide = _central_square(array, int(np.ceil(side * 2**0.5 / 2) + 2) * 2 + side % 2, mode)
    x, y = up
    # From a point of the result to its source: rotation that takes (0, -1) to `up`.
    rotation = np.array([[-y, -x], [x, -y]])
    offset = wide.shape[0] / 2 - rotation @ np.full(2, side / 2)
    matrix = np.column_stack([rotation, offset])
    return np.asarray(
        Image.fromarray(wide).transform((side, side), Image.Transform.AFFINE, matrix.ravel().tolist(), resampling)
    )
