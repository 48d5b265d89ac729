"""SIGTERM and SIGINT as a request that the loop answers at the next step boundary."""

import contextlib
import signal
import threading
from collections.abc import Iterator


class Interruption:
    """Whether the process was asked to stop.

    Attributes:
        signum: the signal that asked, or None.
    """

    def __init__(self) -> None:
        self.signum: int | None = None

    def request(self, signum: int, frame: object) -> None:
        """The signal handler; a second Ctrl-C stops at once."""
        del frame
        if self.signum == signal.SIGINT == signum:
            raise KeyboardInterrupt
        self.signum = signum


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
    """Catches SIGTERM and SIGINT for the duration, in the main thread; elsewhere signals are not ours."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    former = {number: signal.signal(number, interruption.request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield interruption
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
