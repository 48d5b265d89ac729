"""Boxes of subset A: read from VOC files, checked, and cut out of their frames."""

import dataclasses
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from jaxtyping import UInt8

from spermjax.errors import nearest

LABELS = {"S": "sperm", "Impurity": "impurity"}
MARGIN = 1.5
"""A crop's side over the longer side of its box: surroundings enough to see an edge and to turn the crop."""


@dataclasses.dataclass(frozen=True)
class Box:
    """One object of a frame, in pixels; `right` and `bottom` are beyond the last pixel."""

    label: str
    left: int
    top: int
    right: int
    bottom: int


def read_boxes(path: Path) -> tuple[list[Box], list[str]]:
    """The sound boxes of a VOC file, and a line on each thing that is wrong in it."""
    try:
        annotation = ElementTree.fromstring(path.read_bytes())
    except (OSError, ElementTree.ParseError) as error:
        return [], [f"{path}: not a VOC file ({error}); take it from the archive again."]
    boxes, found = [], []
    size = annotation.find("size")
    width, height = (_number(size, name) for name in ("width", "height"))
    for number, entry in enumerate(annotation.iter("object")):
        label, bounds = entry.findtext("name", "").strip(), entry.find("bndbox")
        corners = [_number(bounds, name) for name in ("xmin", "ymin", "xmax", "ymax")]
        where = f"{path}: object {number} ({label!r})"
        if label not in LABELS:
            found.append(f"{where} has an unknown class. {nearest(label, LABELS)}")
        if None in corners:
            found.append(f"{where} has no box of four numbers; draw it again or delete it.")
            continue
        left, top, right, bottom = (int(corner or 0) for corner in corners)
        if left >= right or top >= bottom:
            found.append(f"{where} has an empty box {left, top, right, bottom}; draw it again or delete it.")
        elif left < 0 or top < 0 or (width and right > width) or (height and bottom > height):
            found.append(f"{where} reaches out of the frame of {width}x{height}; move it inside.")
        elif label in LABELS:
            boxes.append(Box(LABELS[label], left, top, right, bottom))
    return boxes, found


def cut_out(frame: UInt8[np.ndarray, "height width 3"], box: Box) -> UInt8[np.ndarray, "side side 3"]:
    """The square around a box, `MARGIN` times its longer side; beyond the frame its border repeats."""
    side = round(MARGIN * max(box.right - box.left, box.bottom - box.top))
    top, left = (box.top + box.bottom - side) // 2, (box.left + box.right - side) // 2
    rows = np.arange(top, top + side).clip(0, frame.shape[0] - 1)
    columns = np.arange(left, left + side).clip(0, frame.shape[1] - 1)
    return frame[np.ix_(rows, columns)]


def _number(parent: ElementTree.Element | None, name: str) -> int | None:
    text = parent.findtext(name, "") if parent is not None else ""
    try:
        return round(float(text))
    except ValueError:
        return None
