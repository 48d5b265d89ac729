"""The process's own memory: who allocates it, and what happens to what was freed."""

import ctypes
import os
import platform
import sys
from pathlib import Path

VARIABLE = "SPERMJAX_ALLOCATOR"
SYSTEMS = "the system's"

_STARTED_ANEW = "_SPERMJAX_STARTED_ANEW"
"""The number of the process that did: it keeps its number, and its children have others."""
_LIBRARIES = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4")
_MARKS = {"tc_version": "tcmalloc", "mallctl": "jemalloc", "mi_version": "mimalloc"}
"""A function that a library has and the C library has not."""

# Options of glibc's mallopt and what they are set to.
ONE_ARENA = (-8, 1)
NO_MAPPING = (-4, 0)
NEVER_TRIM = (-1, -1)
GROW_BY = (-2, 64 * 2**20)


def use_tcmalloc() -> None:
    """Starts this process anew with tcmalloc, where that is installed; to be called first of all, by a program alone.

    XLA and its kernels take and give back thousands of blocks in a step. glibc looks for
    each in the long lists of holes that compiling has left, one thread at a time, which
    is a tenth of a small transformer's step and keeps cores waiting for each other
    (docs/benchmarks.md, 'Training step'). Only a process that starts can choose who
    allocates. An allocator that the user preloaded stays; SPERMJAX_ALLOCATOR=off keeps
    the system's.
    """
    environment, process = os.environ, str(os.getpid())
    if environment.get(_STARTED_ANEW) == process:
        # Processes that this one starts choose for themselves, perhaps on another machine.
        environment.pop("LD_PRELOAD", None)
        return
    library = find_tcmalloc()
    if library and not environment.get("LD_PRELOAD") and environment.get(VARIABLE) != "off":
        told = {
            "LD_PRELOAD": str(library),
            _STARTED_ANEW: process,
            # It would tell of each block above 1 GiB on the standard error.
            "TCMALLOC_LARGE_ALLOC_REPORT_THRESHOLD": str(2**60),
        }
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**environment, **told})


def find_tcmalloc() -> Path | None:
    """The library, of the system or of this Python's environment."""
    if sys.platform != "linux":
        return None
    folders = (f"/usr/lib/{platform.machine()}-linux-gnu", "/usr/lib64", "/usr/lib", f"{sys.prefix}/lib")
    paths = (Path(folder, name) for name in _LIBRARIES for folder in folders)
    return next((path for path in paths if path.exists()), None)


def allocator() -> str:
    """Who allocates this process's memory."""
    library = ctypes.CDLL(None)
    return next((name for mark, name in _MARKS.items() if hasattr(library, mark)), SYSTEMS)


def keep_freed_memory() -> None:
    """Keeps what was freed for what comes, where glibc allocates; to be called before JAX starts its threads.

    XLA on a CPU takes its temporary memory anew for every step. Given back to the system
    in between, it has to be cleared page by page each time, which is a fifth of the time
    of a small transformer's step (docs/benchmarks.md, 'Training step'). So the process stays
    as large as it once had to be.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        for option, value in (ONE_ARENA, NO_MAPPING, NEVER_TRIM, GROW_BY):
            library.mallopt(option, value)
