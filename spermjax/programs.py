"""Compiled programs are kept from run to run, for one user alone.

JAX's compilation cache holds executable code: who can write there decides what others who
read there run. So the folder is the user's own, or there is none.
"""

import hashlib
import os
import platform
import time
import zlib
from pathlib import Path

from spermjax.cache import UNREAD_DAYS, keeping, location, take, wanted

_JAX_FOLDER, _JAX_LEAST_SECONDS = "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
_ZLIB = b"\x78"


def keep_programs() -> None:
    """Has JAX keep what it compiles; to be called before JAX has started, as the command line does.

    JAX's own variable for the folder goes before ours. Where the folder can't be used,
    that is said and nothing is kept.
    """
    if _JAX_FOLDER in os.environ or not wanted():
        return
    with keeping("Compiled programs"):
        folder = default_folder()
        take(folder)
        _tidy(folder)
        os.environ[_JAX_FOLDER] = str(folder)
        # The many small programs of a run's start cost more together than one large one.
        os.environ.setdefault(_JAX_LEAST_SECONDS, "0")


def default_folder() -> Path:
    """Where programs of this user for this kind of processor lie.

    Raises:
        RuntimeError: the user has no home.
    """
    return location(f"programs-{_processor()}")


def _processor() -> str:
    """A digest of the instruction set: a home is shared by machines that can't run each other's programs."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.lower().startswith(("flags", "features"))), platform.processor())
    return hashlib.sha256(f"{platform.machine()} {features}".encode()).hexdigest()[:8]


def _tidy(folder: Path) -> None:
    """Removes programs that nobody reads, and those that a killed process left half-written.

    JAX writes in place. It notices what is cut short, compiles anew, and warns, each
    time again: it never writes over an entry. Each entry is looked at once, at the first
    start after it was written; one that another process is writing right now is lost to
    later ones, not to that process.
    """
    looked = folder / ".looked"
    before, now = looked.stat().st_mtime if looked.exists() else 0.0, time.time()
    looked.touch()
    for entry in folder.glob("*-cache"):
        try:
            found = entry.stat()
            unread = now - max(found.st_atime, found.st_mtime) > UNREAD_DAYS * 86400
            if unread or (found.st_mtime >= before and not _whole(entry.read_bytes())):
                entry.unlink()
        except FileNotFoundError:
            continue  # Another process was faster.


def _whole(content: bytes) -> bool:
    """Whether an entry ends where it should, and its checksum holds; what zlib did not write is left to JAX."""
    if content and not content.startswith(_ZLIB):
        return True
    try:
        zlib.decompress(content)
    except zlib.error:
        return False
    return True
