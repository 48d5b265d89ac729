"""The parts of a sperm cell, and the masks that say where they are.

Parts overlap (a vacuole lies in the acrosome), so masks are multi-label. They are
stored as one byte per pixel, bit `i` for `PARTS[i]`, and used as one boolean
channel per part. `head` and `background` are derived, never stored.
"""

import numpy as np
from jaxtyping import Bool, UInt8

from spermjax.errors import ConfigError, nearest

PARTS = ("acrosome", "nucleus", "vacuole", "midpiece", "tail", "residual_cytoplasm")
HEAD = ("acrosome", "nucleus", "vacuole")
REGIONS = (*PARTS, "head", "background")

# Arrays here may be NumPy's or JAX's: both spell these operations alike.


def pack(masks: Bool[np.ndarray, "*shape parts"]) -> UInt8[np.ndarray, "*shape"]:
    """Boolean part channels to one byte per pixel.

    Args:
        masks: one channel per part, in the order of `PARTS`.

    Returns:
        Bytes whose bit `i` is set where part `i` is.
    """
    return np.packbits(masks, axis=-1, bitorder="little")[..., 0]


def unpack(bits):
    """One byte per pixel to boolean part channels; the inverse of `pack`.

    Args:
        bits: uint8 array of any shape, NumPy's or JAX's (also under `jit`).

    Returns:
        A boolean array with a last axis of `len(PARTS)`.
    """
    return (bits[..., None] >> np.arange(len(PARTS), dtype=np.uint8)) & np.uint8(1) == 1


def region(parts, name: str):
    """The mask of a part, of the head, or of the background.

    Args:
        parts: boolean array, last axis in the order of `PARTS`.
        name: one of `REGIONS`.

    Returns:
        A boolean array without the last axis.

    Raises:
        ConfigError: for a name that is no region.
    """
    if name in PARTS:
        return parts[..., PARTS.index(name)]
    if name == "head":
        return parts[..., [PARTS.index(part) for part in HEAD]].any(-1)
    if name == "background":
        return ~parts.any(-1)
    raise ConfigError(f"There is no part {name!r}. {nearest(name, REGIONS)}")
