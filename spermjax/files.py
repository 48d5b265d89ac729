"""Writing into a run folder so that a reader never meets half a file."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from spermjax.errors import SpermjaxError

_REMEDIES = {
    errno.ENOSPC: "Free some space on that disk",
    errno.EDQUOT: "Free some space in your quota",
    errno.EFBIG: "Raise the limit on file size",
    errno.EROFS: "Choose a folder that can be written with --tracking.runs",
    errno.EACCES: "Choose a folder that you may write with --tracking.runs",
    errno.EPERM: "Choose a folder that you may write with --tracking.runs",
}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an operating system's error into one that names the path and the remedy.

    Raises:
        SpermjaxError: `path` can't be written.
    """
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "Check the folder")
        raise SpermjaxError(
            f"{path} can't be written: {error.strerror or error}. {remedy}, then start the run again: "
            "it goes on from its last checkpoint."
        ) from error


def write_atomic(path: Path, content: str | bytes) -> None:
    """Writes a whole file, or leaves what was there; makes the folder if need be.

    Args:
        path: where to.
        content: text (stored as UTF-8) or bytes.

    Raises:
        SpermjaxError: `path` can't be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
