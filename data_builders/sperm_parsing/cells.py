"""From a labelled field to one example a cell: which cells serve, and their crops."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int, UInt8

from data_builders.sperm_parsing.labelme import BORDER_TOLERANCE_PX, Field, rasterize
from data_builders.sperm_parsing.raters import match
from spermjax import parts as parts_lib
from spermjax.clinic.masks import centroid, mask_of

CROP_PX = 288
"""Side of a crop. Around the head's centroid it holds 95 % of the midpieces whole (224 px: 45 %)."""
LONGEST_HEAD_PX = 200.0
"""The longest whole head measures 149 px along the field's axes; what is longer is two heads under one number."""


@dataclasses.dataclass(frozen=True)
class Crop:
    """One cell, in the middle of its surroundings.

    Attributes:
        cell: its number in the field.
        image: pixels, the border repeated where the crop reaches beyond the field.
        parts: part bits of this cell.
        neighbours: part bits of all other cells, united.
        raters: part bits of this cell as each further rater drew it, empty where it
            was not drawn.
    """

    cell: int
    image: UInt8[np.ndarray, "side side 3"]
    parts: UInt8[np.ndarray, "side side"]
    neighbours: UInt8[np.ndarray, "side side"]
    raters: tuple[UInt8[np.ndarray, "side side"], ...] = ()


def left_out(field: Field) -> dict[int, str]:
    """The cells that make no example, each with the reason.

    A cell serves when it has a nucleus, its head does not touch the border of the
    field, and its head is one. The others still appear among the neighbours.
    """
    reasons = {}
    for cell, polygons in field.cells.items():
        head = [points for part, points in polygons if part in parts_lib.HEAD]
        if not any(part == "nucleus" for part, _ in polygons):
            reasons[cell] = "has no nucleus"
            continue
        low, high = np.concatenate(head).min(0), np.concatenate(head).max(0)
        if min(*low, field.width - high[0], field.height - high[1]) <= BORDER_TOLERANCE_PX:
            reasons[cell] = "has a head cut by the border"
        elif (high - low).max() > LONGEST_HEAD_PX:
            reasons[cell] = "has two heads under one number"
    return reasons


def crops(image: UInt8[np.ndarray, "height width 3"], field: Field, raters: Sequence[Field] = ()) -> Iterator[Crop]:
    """The crop of each cell that serves, in the order of their numbers.

    Args:
        image: the field.
        field: its cells, of which the examples are made.
        raters: the same field as others drew it; their numbers of the cells are free.
    """
    bits, *others_bits = ({cell: rasterize(drawn, cell) for cell in drawn.cells} for drawn in (field, *raters))
    matches = [match(bits, drawn) for drawn in others_bits]
    excluded = left_out(field)
    for cell in field.cells:
        if cell in excluded:
            continue
        middle = np.rint(centroid(mask_of(bits[cell], *parts_lib.HEAD))).astype(int)
        columns, rows = (np.arange(centre - CROP_PX // 2, centre + CROP_PX // 2) for centre in middle)
        others = np.zeros((CROP_PX, CROP_PX), np.uint8)
        for other in field.cells:
            if other != cell:
                others |= _window(bits[other], rows, columns)
        inside = np.ix_(rows.clip(0, field.height - 1), columns.clip(0, field.width - 1))
        again = (
            _window(drawn[matched[cell]], rows, columns) if cell in matched else np.zeros_like(others)
            for drawn, matched in zip(others_bits, matches, strict=True)
        )
        yield Crop(cell, image[inside], _window(bits[cell], rows, columns), others, tuple(again))


def _window(
    bits: UInt8[np.ndarray, "height width"], rows: Int[np.ndarray, "side"], columns: Int[np.ndarray, "side"]
) -> UInt8[np.ndarray, "side side"]:
    """A crop of part bits, empty beyond the field."""
    height, width = bits.shape
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    return np.where(inside, bits[np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))], np.uint8(0))
