"""Small questions to masks: where is a part, where is its middle, in how many pieces."""

from typing import Any

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int, UInt8

from spermjax import parts as parts_lib


def mask_of(bits: UInt8[np.ndarray, "height width"], *parts: str) -> Bool[np.ndarray, "height width"]:
    """Where any of some parts is, without unpacking the others.

    Args:
        bits: part bits as `spermjax.parts.pack` makes them.
        *parts: names out of `spermjax.parts.PARTS`.
    """
    chosen = sum(1 << parts_lib.PARTS.index(part) for part in parts)
    return bits & np.uint8(chosen) > 0


def centroid(mask: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, "2"]:
    """The mean (x, y) of a mask's pixels in pixels, (0, 0) being centred at (0.5, 0.5); NaN for an empty mask."""
    y, x = np.nonzero(mask)
    if not len(x):
        return np.full(2, np.nan)
    return np.array([x.mean(), y.mean()]) + 0.5


def pieces(mask: Bool[np.ndarray, "height width"]) -> tuple[Int[np.ndarray, "height width"], int]:
    """The connected pieces of a mask, corners counting as contact.

    Returns:
        The number of each pixel's piece, from 1, and 0 where there is none; and how
        many pieces there are.
    """
    labelled: Any = scipy.ndimage.label(mask, np.ones((3, 3)))
    return labelled
