"""What a cell measures, told from its part masks.

Everything is in pixels, degrees or ratios. Without the size of a pixel only ratios
compare between images, and sizes compare neither across stains nor with unstained
cells.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

from spermjax import parts as parts_lib
from spermjax.clinic.axis import head_axis, principal_axis
from spermjax.clinic.masks import mask_of, pieces

_SHORTEST_MIDPIECE = 0.25


@dataclasses.dataclass(frozen=True)
class Morphometry:
    """Measurements of one cell; NaN where the part that they need is not there.

    Attributes:
        head_length_px: extent of the head along its long axis.
        head_width_px: extent across it.
        length_to_width: their ratio.
        acrosome_share: area of the acrosome over that of the head. A vacuole inside
            the acrosome counts as acrosome, and a head without acrosome has 0.
        vacuoles: number of vacuoles, each a connected piece.
        vacuole_share: area of all vacuoles over that of the head.
        posterior_vacuole_share: area of vacuoles outside the acrosome over that of
            the head; NaN without an acrosome, which is what tells front from back.
        midpiece_angle: degrees between the midpiece's axis and the head's, 0 when
            the midpiece runs straight on behind the head. NaN for a stub shorter than
            a quarter of the head, as the border of a field leaves it: it has no axis.
    """

    head_length_px: float
    head_width_px: float
    length_to_width: float
    acrosome_share: float
    vacuoles: int
    vacuole_share: float
    posterior_vacuole_share: float
    midpiece_angle: float


def measure(bits: UInt8[np.ndarray, "height width"]) -> Morphometry:
    """Measures one cell.

    Length and width are the head's extents along and across the principal axis of its
    second moments. The smallest enclosing rectangle, the other usual choice, gives the
    same medians but turns to the diagonal of broad heads and then reads them as square.

    Args:
        bits: part bits of this cell alone, as `spermjax.parts.pack` makes them. The head
            must lie in the image whole; a midpiece may be cut by the border.
    """
    bits = _measured_window(bits)
    head = mask_of(bits, *parts_lib.HEAD)
    acrosome, vacuole, midpiece = (mask_of(bits, part) for part in ("acrosome", "vacuole", "midpiece"))
    area, axis = float(head.sum()) or np.nan, head_axis(bits)
    acrosome = acrosome | _enclosed(vacuole, acrosome)
    length, width = _extents(head, axis)
    return Morphometry(
        head_length_px=length,
        head_width_px=width,
        length_to_width=length / width,
        acrosome_share=acrosome.sum() / area,
        vacuoles=pieces(vacuole)[1],
        vacuole_share=vacuole.sum() / area,
        posterior_vacuole_share=(vacuole & ~acrosome).sum() / area if acrosome.any() else np.nan,
        midpiece_angle=_midpiece_angle(head, midpiece, axis, _SHORTEST_MIDPIECE * length),
    )


def _measured_window(bits: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "smaller_height smaller_width"]:
    """The window that holds head and midpiece: all that is measured, and several times less to look at."""
    measured = mask_of(bits, *parts_lib.HEAD, "midpiece")
    if not measured.any():
        return bits[:1, :1]
    (rows,) = np.nonzero(measured.any(1))
    (columns,) = np.nonzero(measured.any(0))
    return bits[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _enclosed(
    vacuole: Bool[np.ndarray, "height width"], acrosome: Bool[np.ndarray, "height width"]
) -> Bool[np.ndarray, "height width"]:
    """The vacuoles that lie in the acrosome, drawn over it or left out of it as holes."""
    numbered, count = pieces(vacuole)
    inside: Any = ndimage.binary_fill_holes(acrosome)
    within = [inside[numbered == number].mean() > 0.5 for number in range(1, count + 1)]
    return np.array([False, *within])[numbered]


def _extents(head: Bool[np.ndarray, "height width"], axis: Float[np.ndarray, "2"]) -> tuple[float, float]:
    """Length along and width across an axis, in pixels; a perfectly round head is measured upright."""
    if not head.any():
        return np.nan, np.nan
    along = np.array([0.0, -1.0]) if np.isnan(axis).any() else axis
    across = np.array([-along[1], along[0]])
    y, x = np.nonzero(head)
    corners = np.stack([np.concatenate([x, x + 1, x, x + 1]), np.concatenate([y, y, y + 1, y + 1])], -1)
    # The corners of an oblique staircase overhang the outline that it stands for by half a pixel's width.
    overhang = np.abs(along).sum() - 1
    return float(np.ptp(corners @ along) - overhang), float(np.ptp(corners @ across) - overhang)


def _midpiece_angle(
    head: Bool[np.ndarray, "height width"],
    midpiece: Bool[np.ndarray, "height width"],
    axis: Float[np.ndarray, "2"],
    shortest_px: float,
) -> float:
    """Degrees between the midpiece's axis, away from the head, and the head's, backward."""
    along = principal_axis(midpiece)
    if np.isnan(axis).any() or np.isnan(along).any():
        return np.nan
    y, x = np.nonzero(midpiece)
    positions = np.stack([x, y], -1) @ along
    if np.ptp(positions) < shortest_px:
        return np.nan
    # The end that is farther from the head is where the midpiece leads.
    distance: Any = ndimage.distance_transform_edt(~head)
    away = along if np.cov(positions, distance[y, x])[0, 1] >= 0 else -along
    return float(np.degrees(np.arccos(np.clip(-axis @ away, -1.0, 1.0))))
