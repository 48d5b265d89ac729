"""Last words of a process that JAX aborts: from C++, on any thread, whatever Python is doing."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)
_signal = ctypes.CDLL(None).signal
_signal.argtypes, _signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
_kept: list[Any] = []


def on_abort(say: Callable[[], tuple[str, int]] | None) -> None:
    """Has an abort end with a message and an exit code of our own, instead of a core dump.

    A handler of Python's would wait for the main thread, which may hang, and return to the abort.

    Args:
        say: gives message and exit code; None leaves aborts as they were.
    """
    if say is None:
        _signal(signal.SIGABRT, None)
        return

    @_HANDLER
    def handler(number: int) -> None:
        del number
        leave(*say())

    _kept[:] = [handler]
    _signal(signal.SIGABRT, ctypes.cast(handler, ctypes.c_void_p))


def leave(message: str, code: int) -> None:
    """Ends the process here, with a message on the standard error stream."""
    print(f"spermjax: {message}", file=sys.stderr)
    end(code)


def end(code: int) -> None:
    """Ends the process here, without waiting for anything."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
