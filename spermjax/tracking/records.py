"""W&B's own records in run folders: which the server has, and sending the others."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

LIMIT_SECONDS = 900.0
"""After which a record is given up: W&B's program waits for a server for days."""


def records(folders: Iterable[Path]) -> list[Path]:
    """The `.wandb` file of each time a run was started, the earliest first, in run folders or folders of them."""
    found = {file for folder in folders for file in folder.glob("**/wandb/*run-*/run-*.wandb")}
    # `run-20260101_120000-ID`, with `offline-` before it where it was recorded offline.
    return sorted(found, key=lambda file: file.parent.name.removeprefix("offline-"))


def is_sent(record: Path) -> bool:
    """Whether the server has all of a record, as W&B's own program notes it."""
    return _note(record).exists()


def mark_sent(record: Path) -> None:
    """Notes that the server has all of a record."""
    _note(record).touch()


def send(record: Path) -> bool:
    """Sends a record with W&B's own program, which prints what it does.

    Returns:
        Whether it arrived. The program ends with 0 either way; what it notes is what counts.
    """
    command = [sys.executable, "-m", "wandb", "sync", "--include-online", str(record)]
    try:
        subprocess.run(command, timeout=LIMIT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return is_sent(record)


def _note(record: Path) -> Path:
    return record.with_suffix(".wandb.synced")
