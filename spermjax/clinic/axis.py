"""Which way a cell lies: the long axis of its head, told from part masks or from the image alone.

Coordinates are in pixels, x to the right and y down.
"""

import numpy as np
import scipy
from jaxtyping import Bool, Float, UInt8

from spermjax import parts as parts_lib
from spermjax.clinic.masks import centroid, mask_of

_HEAD_SHARE = 0.22  # Standard deviation of the window about a centred head, as a share of the image's side.
_BACKGROUND = 60.0  # Percentile of contrast that is taken for background.


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


def image_axis(image: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "2"]:
    """The unit vector along the long axis of the cell in the middle of an image, toward its front.

    Contrast (distance from the background, and steepness) is weighed by a window that
    follows it; the axis is that of its second central moments. The tail leaves the
    window on one side: the front is where less of the contrast reaches far. This is an
    estimate, meant for centred cells without masks.

    Args:
        image: one cell, near the middle, on a background that fills most of the border.

    Returns:
        (x, y) of length 1, or NaN for a flat image or a perfectly round cell.
    """
    grey = scipy.ndimage.gaussian_filter(image.mean(axis=2, dtype=np.float64), 1.0)
    distance = np.abs(grey - np.median(grey))
    steepness = np.hypot(scipy.ndimage.sobel(grey, 0), scipy.ndimage.sobel(grey, 1))
    if distance.max() < 1.0:
        return np.full(2, np.nan)
    contrast = distance / distance.mean() + steepness / steepness.mean()
    contrast = np.maximum(contrast - np.percentile(contrast, _BACKGROUND), 0.0)
    place = np.indices(grey.shape)[::-1].reshape(2, -1).astype(np.float64)
    spread = _HEAD_SHARE * max(grey.shape)
    centre = np.array(grey.shape[::-1])[:, None] / 2 - 0.5
    for _ in range(3):
        weight = contrast.ravel() * np.exp(-np.square(place - centre).sum(0) / (2 * spread**2))
        centre = (place * weight).sum(1, keepdims=True) / weight.sum()
    moments, axes = np.linalg.eigh(np.cov(place, aweights=weight, bias=True))
    if np.isclose(moments[0], moments[1], rtol=1e-6):
        return np.full(2, np.nan)
    along = axes[:, 1] @ (place - centre)
    reach = distance.ravel() * np.exp(-np.square(place - centre).sum(0) / (2 * (1.6 * spread) ** 2))
    return -axes[:, 1] if (reach * along**3).sum() > 0 else axes[:, 1]
