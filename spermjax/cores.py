"""A CPU's cores as JAX devices."""

import os

MOST = 8
"""Each device holds a copy of the state, and of the training examples where they fit."""
FEW = 2
"""So many cores train faster as one device: one program uses two cores well, and neither sums gradients over devices
nor updates parameters twice. With more, its share of work that one core does alone weighs more (not measured)."""

_COUNT = "JAX_NUM_CPU_DEVICES"
_OURS = "_SPERMJAX_CORES"
"""The number of devices that was set here, for processes that inherit it."""


def use_cores() -> None:
    """Has JAX see a device for each core that this process may use, up to `MOST`; to be called before JAX is imported.

    XLA runs one program on several cores in part only, where one program for each core
    takes its share of the examples at full speed (docs/benchmarks.md, 'Training step').
    GPUs and TPUs are chosen before a CPU, as ever. Who set the number, by XLA_FLAGS or
    JAX_NUM_CPU_DEVICES, keeps it.
    """
    if "host_platform_device_count" not in os.environ.get("XLA_FLAGS", "") and _COUNT not in os.environ:
        os.environ[_COUNT] = os.environ[_OURS] = str(min(_cores(), MOST))


def few_cores() -> bool:
    """Whether the devices of a CPU are `FEW` cores that were made devices here, not by the user."""
    count = os.environ.get(_COUNT)
    return count is not None and count == os.environ.get(_OURS) and int(count) <= FEW


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
