"""Brings images and part masks of any size to the one square that a model sees.

Runs on the host, once for each example; random changes of training follow on the
device. Image and masks always move together.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from spermjax import parts as parts_lib
from spermjax.clinic.axis import head_axis, image_axis
from spermjax.clinic.masks import pieces

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
    resized by antialiased bilinear interpolation, the masks by `resize_mask`.

    Args:
        image: pixels, 0 to 255.
        parts: part bits as `spermjax.parts.pack` makes them; zeros where there are none.
        size: side of the result in pixels.
        crop: side in source pixels of the square that is kept, also for an image
            that is smaller, so that all cells keep one scale; by default the
            longer side of the image.
        align_head: turn the image about its centre so that the head's long axis
            points up with the acrosome (or, without one, the side away from the
            midpiece) on top. Where there are no masks the image itself tells the
            axis (see `image_axis`). An example without a clear axis is left as it is.

    Returns:
        The image and its part bits.
    """
    side = crop or max(image.shape[:2])
    axis = np.full(2, np.nan)
    if align_head:
        axis = head_axis(parts) if parts.any() else image_axis(_central_square(image, side, "edge"))
    aligned = not np.isnan(axis).any()
    if not aligned and image.shape[:2] == (size, size) and side == size:
        return image, parts
    if aligned:
        square = _rotated_square(image, side, axis, "edge", Image.Resampling.BICUBIC)
    else:
        square = _central_square(image, side, "edge")
    bits = np.zeros((size, size), np.uint8)
    for part in range(len(parts_lib.PARTS)):
        bit = np.uint8(1 << part)
        if not np.bitwise_and(parts, bit).any():
            continue
        mask = np.uint8(255) * (parts & bit > 0)
        if aligned:
            mask = _rotated_square(mask, side, axis, "constant", Image.Resampling.BILINEAR)
        else:
            mask = _central_square(mask, side, "constant")
        bits |= bit * resize_mask(mask / np.float32(255), size)
    small = Image.fromarray(square).resize((size, size), Image.Resampling.BILINEAR)
    return np.array(small), bits


def resize_mask(coverage: Float[np.ndarray, "side side"], size: int) -> Bool[np.ndarray, "size size"]:
    """A part's coverage of one square at another size, with no visible piece lost.

    A pixel bears a part that covers at least half of it. A connected piece of a
    part that covers no pixel by half (a small vacuole, a thin tail cut short by
    the border) keeps the one pixel that it covers most.

    Args:
        coverage: share of each pixel that the part covers, 0 to 1.
        size: side of the result in pixels.
    """
    if coverage.max() < _TRACE:
        return np.zeros((size, size), bool)
    covered = np.asarray(Image.fromarray(coverage).resize((size, size), Image.Resampling.BOX))
    mask = covered >= 0.5
    numbered, count = pieces(covered > 0)
    for number in np.setdiff1d(np.arange(1, count + 1), numbered[mask]):
        mask[np.unravel_index(np.where(numbered == number, covered, 0).argmax(), mask.shape)] = True
    return mask


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
