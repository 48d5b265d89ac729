"""Arrays from `.npz` files that anybody may have made."""

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

MOST_INFLATED = 1032
"""Bytes that deflate makes of one at most."""

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_MALFORMED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ArithmeticError,
    LookupError,
    TypeError,
    EOFError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    OSError,
)
"""What readers raise for a file that is cut short, changed, encrypted, or lies about types and sizes."""


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file, by name; objects are refused, and a size that the file can't hold is not allocated.

    Args:
        path: as `numpy.savez` and `savez_compressed` write it.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it can't be read whole.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > MOST_INFLATED * path.stat().st_size:
                raise ValueError("it claims more than deflate can pack into it")
            for member in members:
                _check(archive, member)
            return {member.filename.removesuffix(".npy"): _read(archive, member) for member in members}
    except FileNotFoundError:
        raise
    except _MALFORMED as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _check(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Refuses an array that claims more than its part of the file holds, or less than nothing, before room is made.

    Raises:
        ValueError: it does.
    """
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is packed in a way that NumPy doesn't use")
    with archive.open(member) as file:
        shape, _, dtype = _header(file)
    if any(side < 0 for side in shape):  # NumPy multiplies them, and may come to room that nobody has.
        raise ValueError(f"{member.filename} claims the shape {shape}")
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > member.file_size:
        raise ValueError(f"{member.filename} claims {claimed} bytes and holds {member.file_size}")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"format {version} is not one of plain arrays")
    return _HEADERS[version](file)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
