"""Decoded sets are kept from run to run: reading them back is a tenth of the work."""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from spermjax import cache, config
from spermjax.data.prepare import PreparedSet
from spermjax.npz import read_npz

MOST_BYTES = 2**30
"""A larger set is decoded each time: a home may be small."""
CODE = ("parts.py", "clinic/axis.py", "clinic/masks.py", "data/examples.py", "data/geometry.py", "data/images.py")
"""Modules that decide what pixels come out."""


def kept(key: Mapping[str, Any], decode: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays that `decode` gave for this key before, or gives now.

    They lie in the user's cache folder, in an uncompressed npz file with checksums. A
    damaged one is said, and made anew.

    Args:
        key: all that decides what `decode` gives; JSON-able.
        decode: arrays by name, of numbers and text.

    Raises:
        Whatever `decode` raises.
    """
    path = None
    if cache.wanted():
        with cache.keeping("Decoded images"):
            path = _place(key)
    if path is None:
        return decode()
    try:
        arrays = read_npz(path)
    except FileNotFoundError:
        pass
    except ValueError as error:
        logging.warning("%s is damaged (%s); its images are decoded again.", path, error)
    else:
        with cache.keeping("Decoded images"):
            os.utime(path)  # Tells `_tidy` that somebody reads it, whether or not the disk notes that.
        return arrays
    arrays = decode()
    if sum(array.nbytes for array in arrays.values()) <= MOST_BYTES:
        with cache.keeping("Decoded images"):
            _tidy(path.parent)
            _write(path, arrays)
    return arrays


def key_of(prepared: PreparedSet, data: config.Data) -> dict[str, Any]:
    """What decides how a prepared set looks when it is decoded: its files, the size, and the code that makes pixels."""
    package = Path(__file__).parents[1]
    stats = {str(path): path.stat() for path in prepared.directory.iterdir()}
    return {
        "set": prepared.builder.info.full_name,
        "fingerprint": prepared.fingerprint,
        "files": {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()},
        "image": (data.image_size, data.crop, data.margin, data.align_head),
        "code": {name: hashlib.sha256((package / name).read_bytes()).hexdigest() for name in CODE},
        "pillow": PIL.__version__,
    }


def _place(key: Mapping[str, Any]) -> Path:
    folder = cache.location("decoded")
    cache.take(folder)
    return folder / f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()}.npz"


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _tidy(folder: Path) -> None:
    """Removes what nobody reads, and what a killed process left half-written."""
    for entry in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # Another process was faster.
            if time.time() - entry.stat().st_mtime > cache.UNREAD_DAYS * 86400:
                entry.unlink()
