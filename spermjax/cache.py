"""What is kept from run to run lies in a folder that is one user's alone."""

import contextlib
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "SPERMJAX_CACHE"
"""Names another folder, or is `off`."""
UNREAD_DAYS = 30
"""What nobody read for so long is removed."""


def wanted() -> bool:
    """Whether anything is to be kept."""
    return os.environ.get(VARIABLE) != "off"


def location(name: str) -> Path:
    """Where what goes by a name lies.

    Raises:
        RuntimeError: the user has no home.
    """
    chosen = os.environ.get(VARIABLE)
    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "spermjax" if not chosen else Path(chosen)
    return root.expanduser().absolute() / name


def take(folder: Path) -> None:
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
        raise RuntimeError(f"{folder} belongs to another user, who could put files of theirs there")
    if found.st_mode & 0o077:
        raise RuntimeError(f"{folder} is open to other users, who could put files of theirs there")


@contextlib.contextmanager
def keeping(what: str) -> Iterator[None]:
    """Where the folder can't be used, that is said, and work goes on without it.

    Args:
        what: is to be kept, as a sentence begins.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        logging.warning(
            "%s are not kept: %s. Name another folder with %s, or say %s=off.", what, error, VARIABLE, VARIABLE
        )
