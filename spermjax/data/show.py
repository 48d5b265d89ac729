"""A contact sheet: what a data set's cells look like, and where their parts are said to be."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageColor, ImageDraw, ImageFont
from skimage.segmentation import find_boundaries

from spermjax import parts as parts_lib
from spermjax.data.examples import Examples
from spermjax.data.task import Task

PART_COLOURS = dict(
    zip(parts_lib.PARTS, ("#f5a800", "#2f7df6", "#f0357f", "#1faa59", "#00b3c4", "#9b51e0"), strict=True)
)
"""The colour of each part's outline."""

_SMALLEST_TILE_PX = 96
_LINE_PX = 14
_GAP_PX = 6
_VERDICTS = {0: "normal", 1: "abnormal", -1: "missing"}


def contact_sheet(examples: Examples, task: Task, path: Path, *, rows: int, columns: int) -> int:
    """Writes a PNG of the first `rows * columns` examples, row by row.

    Each image bears the outlines of its parts, in the colours that the line at the
    bottom names, and under it its label and its id.

    Args:
        examples: what to draw.
        task: names the labels.
        path: the file to write.
        rows: rows of images; fewer are drawn when the examples run out.
        columns: images in a row.

    Returns:
        The number of examples drawn.
    """
    count = min(len(examples), rows * columns)
    side = examples.image.shape[1]
    zoom = max(1, -(-_SMALLEST_TILE_PX // side))
    tile = side * zoom
    lines = 2 if task.kind == "single_label" else 1 + len(task.names)
    width, height = columns * (tile + _GAP_PX) + _GAP_PX, tile + lines * _LINE_PX + _GAP_PX
    sheet = Image.new("RGB", (width, -(-count // columns) * height + 2 * _GAP_PX + _LINE_PX), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for index in range(count):
        left, top = _GAP_PX + index % columns * (tile + _GAP_PX), _GAP_PX + index // columns * height
        sheet.paste(Image.fromarray(outlined(examples.image[index], examples.parts[index], zoom)), (left, top))
        for line, text in enumerate([*_label_lines(task, examples.label[index]), examples.id[index]]):
            draw.text((left, top + tile + line * _LINE_PX), _shortened(text, tile, font), fill="black", font=font)
    left = _GAP_PX
    for part, colour in PART_COLOURS.items() if examples.has_parts.any() else ():
        draw.text((left, sheet.height - _LINE_PX - _GAP_PX), part, fill=colour, font=font)
        left += int(font.getlength(part)) + 2 * _GAP_PX
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    return count


def outlined(
    image: UInt8[np.ndarray, "height width 3"], bits: UInt8[np.ndarray, "height width"], zoom: int = 1
) -> UInt8[np.ndarray, "zoomed_height zoomed_width 3"]:
    """An image with the inner border of each part drawn in its colour.

    Args:
        image: pixels, 0 to 255.
        bits: part bits as `spermjax.parts.pack` makes them.
        zoom: how many times to enlarge before drawing, so that lines stay one pixel wide.
    """
    drawn = image.repeat(zoom, 0).repeat(zoom, 1)
    masks = parts_lib.unpack(bits.repeat(zoom, 0).repeat(zoom, 1))
    for part, colour in PART_COLOURS.items():
        mask = masks[..., parts_lib.PARTS.index(part)]
        drawn[find_boundaries(mask, mode="inner")] = ImageColor.getrgb(colour)
    return drawn


def _label_lines(task: Task, label: np.ndarray) -> list[str]:
    if task.kind == "single_label":
        return [task.names[int(label)]]
    return [f"{name}: {_VERDICTS[int(value)]}" for name, value in zip(task.names, label, strict=True)]


def _shortened(text: str, width: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The end of a text, which tells ids apart, as far as it fits."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("…" + text) > width:
        text = text[1:]
    return "…" + text
