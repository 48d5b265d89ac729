"""Compiled programs are kept from run to run, for one user alone.

JAX's compilation cache holds executable code: who can write there decides what others who
read there run. So the folder is the user's own, or there is none.
"""

import hashlib
import logging
import os
import platform
import stat
import time
import zlib
from pathlib import Path

VARIABLE = "SPERMJAX_CACHE"
"""Names another folder, or is `off`. JAX's own JAX_COMPILATION_CACHE_DIR goes before it."""
UNREAD_DAYS = 30
"""A program that nobody read for so long is removed."""

_JAX_FOLDER, _JAX_LEAST_SECONDS = "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
_ZLIB = b"\x78"


def keep_programs() -> None:
    """Has JAX keep what it compiles; to be called before JAX has started, as the command line does.

    Where the folder can't be used, that is said and nothing is kept.
    """
    if _JAX_FOLDER in os.environ or os.environ.get(VARIABLE) == "off":
        return
    try:
        folder = default_folder()
        _take(folder)
        _tidy(folder)
    except (OSError, RuntimeError) as error:
        logging.warning(
            "Compiled programs are not kept: %s. Name another folder with %s, or say %s=off.", error, VARIABLE, VARIABLE
        )
        return
    os.environ[_JAX_FOLDER] = str(folder)
    # The many small programs of a run's start cost more together than one large one.
    os.environ.setdefault(_JAX_LEAST_SECONDS, "0")


def default_folder() -> Path:
    """Where programs of this user for this kind of processor lie.

    Raises:
        RuntimeError: the user has no home.
    """
    chosen = os.environ.get(VARIABLE)
    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "spermjax" if not chosen else Path(chosen)
    return root.expanduser().absolute() / f"programs-{_processor()}"


def _processor() -> str:
    """A digest of the instruction set: a home is shared by machines that can't run each other's programs."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.lower().startswith(("flags", "features"))), platform.processor())
    return hashlib.sha256(f"{platform.machine()} {features}".encode()).hexdigest()[:8]


def _take(folder: Path) -> None:
    """Makes a folder that is this user's alone.

    Raises:
        OSError: it can't be made.
        RuntimeError: it is there and is not.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise RuntimeError(f"{folder} is not a folder")
    if found.st_uid != os.getuid():
        raise RuntimeError(f"{folder} belongs to another user, who could put programs of theirs there")
    if found.st_mode & 0o077:
        raise RuntimeError(f"{folder} is open to other users, who could put programs of theirs there")


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
