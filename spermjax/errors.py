"""Errors that a user can mend: each names the thing, its value, and the remedy.

The command line prints them as one message without a traceback; anything else
is a defect of spermjax and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class SpermjaxError(Exception):
    """Base of all errors that name something a user can change.

    Attributes:
        exit_code: what the command line ends with.
    """

    exit_code = 2


class ConfigError(SpermjaxError):
    """The experiment can't be run as it is configured."""


class DataError(SpermjaxError):
    """A data set, file or record is missing, damaged or inconsistent."""


class CheckpointError(SpermjaxError):
    """No checkpoint can be read, or it belongs to another experiment."""


class DivergenceError(SpermjaxError):
    """A loss or gradient stopped being finite, a loss spiked, or devices hold different parameters."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the nearest known ones, or all of them.

    Args:
        name: what was asked for.
        known: what there is.

    Returns:
        A sentence to append to an error message.
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    return f"Known: {', '.join(known) or 'none'}."
