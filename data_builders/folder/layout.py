"""What lies in a folder of one's own images: classes, masks beside the images, and a table."""

import csv
import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from spermjax.data.images import image_files, read_image
from spermjax.errors import DataError, nearest
from spermjax.parts import PARTS, pack

TABLE = "cells.csv"
_VALUES = {"0": 0, "normal": 0, "1": 1, "abnormal": 1, "-1": -1, "": -1}


@dataclasses.dataclass(frozen=True)
class Table:
    """`cells.csv`: one row an image.

    Attributes:
        attributes: names of the attribute columns.
        rows: for each image (its path from the root) its group or "", and its
            attributes with 0 normal, 1 abnormal, -1 unknown.
        problems: what is wrong, each as a message and the image it is about (if one).
    """

    attributes: tuple[str, ...]
    rows: Mapping[str, tuple[str, dict[str, int]]]
    problems: tuple[tuple[str, str | None], ...] = ()


def classes(root: Path) -> list[str]:
    """The folders of a root, each a class, in order."""
    return sorted(path.name for path in root.iterdir() if path.is_dir() and path.name[0] != ".")


def images(folder: Path) -> list[Path]:
    """The images in the folder of a class, without their masks."""
    return [path for path in image_files(folder) if _part_of(path) is None]


def masks(image: Path) -> dict[str, Path]:
    """The mask files beside an image by their part: `cell.acrosome.png` beside `cell.bmp`."""
    return {part: path for part in PARTS for path in sorted(image.parent.glob(f"{_escaped(image.stem)}.{part}.*"))}


def orphans(folder: Path) -> list[Path]:
    """The masks in the folder of a class that lie beside no image."""
    stems = {path.stem for path in images(folder)}
    return [path for path in image_files(folder) if _part_of(path) and Path(path.stem).stem not in stems]


def read_parts(image: Path, height: int, width: int) -> UInt8[np.ndarray, "height width"]:
    """The part bits of an image from the mask files beside it; whatever is not black is part.

    Raises:
        DataError: when a mask can't be read or has another size than the image.
    """
    channels = np.zeros((height, width, len(PARTS)), bool)
    for part, path in masks(image).items():
        mask = read_image(path)
        if mask.shape[:2] != (height, width):
            raise DataError(
                f"{path}: {mask.shape[1]}x{mask.shape[0]} pixels, but {image.name} has {width}x{height}; "
                "draw the mask on the image as it is."
            )
        channels[..., PARTS.index(part)] = mask.any(-1)
    return pack(channels)


def read_table(root: Path) -> Table | None:
    """The table of a root, or None where there is none; problems are in it and not raised."""
    path = root / TABLE
    if not path.exists():
        return None
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            columns, lines = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return Table((), {}, ((f"{path}: can't be read as a table ({error}); save it as CSV in UTF-8.", None),))
    if "file" not in columns:
        return Table((), {}, ((f"{path}: has no column 'file' but {columns}; add it, with class/IMAGE in it.", None),))
    attributes = tuple(name for name in columns if name not in ("file", "group"))
    twice = {name for name, count in Counter(line["file"] for line in lines).items() if count > 1}
    rows, problems = {}, []
    for number, line in enumerate(lines, 2):
        name, where = line["file"], f"{path}: line {number} ({line['file']})"
        if None in line:
            problems.append((f"{where}: has more fields than the first line; quote what holds a comma.", name))
        if name in twice:
            problems.append((f"{where}: the file is named more than once; keep one of the lines.", name))
        values = {}
        for attribute in attributes:
            value = (line[attribute] or "").strip().lower()
            if value not in _VALUES:
                hint = nearest(value, [known for known in _VALUES if known])
                problems.append((f"{where}: {attribute} is {value!r}, no value of an attribute. {hint}", name))
            values[attribute] = _VALUES.get(value, -1)
        rows[name] = (line.get("group") or "", values)
    return Table(attributes, rows, tuple(problems))


def _part_of(path: Path) -> str | None:
    """The part that a file is a mask of, by its name; None for an image."""
    part = Path(path.stem).suffix[1:]
    return part if part in PARTS else None


def _escaped(stem: str) -> str:
    """A name without what `glob` would take for a pattern."""
    return "".join(f"[{letter}]" if letter in "[]*?" else letter for letter in stem)
