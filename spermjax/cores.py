"""A CPU's cores as JAX devices."""

import os

MOST = 8
"""Each device holds a copy of the state, and of the training examples where they fit."""

_COUNT = "JAX_NUM_CPU_DEVICES"


def use_cores() -> None:
    """Has JAX see a device for each core that this process may use, up to `MOST`; to be called before JAX is imported.

    XLA runs one program on several cores in part only, where one program for each core
    takes its share of the examples at full speed (docs/benchmarks.md, 'Training step').
    GPUs and TPUs are chosen before a CPU, as ever. Who set the number, by XLA_FLAGS or
    JAX_NUM_CPU_DEVICES, keeps it.
    """
    if "host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        os.environ.setdefault(_COUNT, str(min(_cores(), MOST)))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
