"""Image files to arrays and back; a file's content decides its format, not its name."""

import hashlib
import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from spermjax.errors import DataError

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def read_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """The pixels of an image file, upright, in RGB.

    Args:
        path: a file in any format that Pillow knows; gray images and palettes become RGB.

    Raises:
        DataError: when the file can't be read whole, is no image, or has more than
            eight bits a channel.
    """
    try:
        with Image.open(path) as image:
            image.load()
            if image.mode.startswith(("I", "F")):
                raise DataError(f"{path}: more than 8 bits a channel ({image.mode}); convert it to 8 bits.")
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.") from None
    except Image.UnidentifiedImageError:
        raise DataError(f"{path}: not an image; replace it by the original file.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: can't be read as an image ({error}); replace it by the original file.") from error


def image_problem(path: Path, sides_px: tuple[int, int]) -> str | None:
    """What is wrong with an image file, or None.

    Args:
        path: the file.
        sides_px: least and greatest height and width, in pixels.
    """
    try:
        height, width = read_image(path).shape[:2]
    except DataError as error:
        return str(error)
    if min(height, width) < sides_px[0] or max(height, width) > sides_px[1]:
        return (
            f"{path}: {width}x{height} pixels, but sides are of {sides_px[0]} to {sides_px[1]}; "
            "replace it by the original file."
        )
    return None


def png(image: UInt8[np.ndarray, "height width *channels"]) -> bytes:
    """An array as the bytes of a PNG file; two dimensions make a gray image."""
    buffer = io.BytesIO()
    # Level 3 is more than twice as fast as the default and a sixth larger.
    Image.fromarray(image).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def pixels(data: bytes) -> UInt8[np.ndarray, "height width *channels"]:
    """The inverse of `png`."""
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image)


def pixel_digest(image: UInt8[np.ndarray, "height width *channels"]) -> str:
    """A short name that images of the same size and pixels share, and no others."""
    return hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()[:16]


def image_files(folder: Path) -> list[Path]:
    """The files of a folder that are named like images, sorted by name; none where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
