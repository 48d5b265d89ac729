"""The process's own memory: what it does with what was freed."""

import ctypes
import sys

# Options of glibc's mallopt and what they are set to.
ONE_ARENA = (-8, 1)
NO_MAPPING = (-4, 0)
NEVER_TRIM = (-1, -1)


def keep_freed_memory() -> None:
    """Keeps what was freed for what comes, where glibc allocates; to be called before JAX starts its threads.

    XLA on a CPU takes its temporary memory anew for every step. Given back to the system
    in between, it has to be cleared page by page each time, which is a fifth of the time
    of a small transformer's step (docs/benchmarks.md, 'Training step'). So the process stays
    as large as it once had to be.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        for option, value in (ONE_ARENA, NO_MAPPING, NEVER_TRIM):
            library.mallopt(option, value)
