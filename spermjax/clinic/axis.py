"""Which way a cell lies: the long axis of its head, told from part masks.

Coordinates are in pixels, x to the right and y down.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from spermjax import parts as parts_lib
from spermjax.clinic.masks import centroid, mask_of


def principal_axis(mask: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, "2"]:
    """The unit vector along which a mask extends most, by its second central moments.

    The sign is free: of the two directions the one that points up, or to the
    right when the axis is level, is returned.

    Args:
        mask: the pixels of one region.

    Returns:
        (x, y) of length 1, or NaN where the mask has no long axis: when it is
        empty or as wide as long.
    """
    y, x = np.nonzero(mask)
    if len(x) < 2:
        return np.full(2, np.nan)
    moments, axes = np.linalg.eigh(np.cov(np.stack([x, y]), bias=True))
    if np.isclose(moments[0], moments[1], rtol=1e-6):
        return np.full(2, np.nan)
    axis = axes[:, 1]
    return -axis if (axis[1], -axis[0]) > (0.0, 0.0) else axis


def head_axis(bits: UInt8[np.ndarray, "height width"]) -> Float[np.ndarray, "2"]:
    """The unit vector along the head's long axis toward its front.

    The front is the end where the acrosome is; without an acrosome, the end away
    from the midpiece; without either, the sign of `principal_axis` is kept.

    Args:
        bits: part bits as `spermjax.parts.pack` makes them.

    Returns:
        (x, y) of length 1, or NaN without a head or for a perfectly round one.
    """
    head, acrosome, midpiece = (mask_of(bits, *names) for names in (parts_lib.HEAD, ("acrosome",), ("midpiece",)))
    axis, centre = principal_axis(head), centroid(head)
    if acrosome.any():
        forward = (centroid(acrosome) - centre) @ axis
    elif midpiece.any():
        forward = (centre - centroid(midpiece)) @ axis
    else:
        forward = 1.0
    return -axis if forward < 0 else axis
