"""Pictures of explanations: overlays, outlines of parts, and panels of both.

Maps are normalised here, for viewing only, each by itself: from its smallest value
(or zero, where it has negative ones, which are not shown) to its largest. Colours
compare places within one map, never two maps.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, binary_erosion

from spermjax.data.show import PART_COLOURS
from spermjax.parts import PARTS

COLORMAP = colormaps["inferno"]
TITLE_PX = 22
GAP_PX = 6


def normalise(relevance: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    """A map scaled to [0, 1] for viewing; zeros where it is constant, and where it is not finite."""
    shown = np.nan_to_num(np.asarray(relevance, np.float32), posinf=0.0, neginf=0.0)
    if (shown < 0).any():
        shown = np.maximum(shown, 0)
    shown = shown - shown.min()
    return shown / shown.max() if shown.max() > 0 else shown


def enlarge(image: UInt8[np.ndarray, "height width 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """An image at the size of a tile, in pixels."""
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))


def overlay(
    image: UInt8[np.ndarray, "height width 3"], relevance: Float[np.ndarray, "height width"], size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """A map laid over the image in grey: the more relevant, the more colour."""
    heat = Image.fromarray(normalise(relevance)).resize((size, size), Image.Resampling.BILINEAR)
    share = np.asarray(heat)[..., None]
    colour = COLORMAP(share[..., 0])[..., :3] * 255
    grey = enlarge(image, size).mean(-1, keepdims=True)
    opacity = 0.8 * share**0.7
    return np.clip((1 - opacity) * grey + opacity * colour, 0, 255).astype(np.uint8)


def outlined(
    image: UInt8[np.ndarray, "height width 3"], parts: Bool[np.ndarray, "height width parts"], size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """The image with the outline of each part in its colour."""
    drawn = enlarge(image, size).copy()
    width = max(1, round(size / 100))
    for part, colour in PART_COLOURS.items():
        mask = parts[..., PARTS.index(part)]
        if not mask.any():
            continue
        smooth = Image.fromarray(mask.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
        inside = np.asarray(smooth) > 0.5
        edge = inside & np.logical_not(binary_erosion(inside, iterations=width))
        rim = np.logical_and(binary_dilation(edge), ~edge)
        drawn[rim] = drawn[rim] * 0.6
        drawn[edge] = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)
    return drawn


def panel(
    image: UInt8[np.ndarray, "height width 3"],
    parts: Bool[np.ndarray, "height width parts"] | None,
    maps: Float[np.ndarray, "methods height width"],
    names: Sequence[str],
    *,
    size: int = 176,
) -> UInt8[np.ndarray, "panel_height panel_width 3"]:
    """One example in a row: the image with its parts, then an overlay for each method, each with its title.

    Args:
        image: pixels.
        parts: masks in the order of `spermjax.parts.PARTS`, or None where there are none.
        maps: raw maps; each is normalised for viewing by itself.
        names: titles of the maps.
        size: side of a tile in pixels.

    Returns:
        Pixels, for a figure file or a tracker.
    """
    first = enlarge(image, size) if parts is None else outlined(image, parts, size)
    tiles = [first, *(overlay(image, relevance, size) for relevance in maps)]
    titles = ["image" if parts is None else "image and parts", *names]
    sheet = Image.new("RGB", (len(tiles) * (size + GAP_PX) - GAP_PX, size + TITLE_PX), "white")
    titles = [title.replace("_", " ") for title in titles]
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    widest = max(draw.textlength(title, font=font) for title in titles)
    if widest > size:
        font = ImageFont.load_default(size=12 * size / widest)
    for number, (tile, title) in enumerate(zip(tiles, titles, strict=True)):
        left = number * (size + GAP_PX)
        draw.text((left + 2, 3), title, fill="#222222", font=font)
        sheet.paste(Image.fromarray(tile), (left, TITLE_PX))
    return np.asarray(sheet)
