"""Which devices of this machine each worker may use, told through its environment."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from spermjax.errors import ConfigError


def shares(workers: int) -> list[dict[str, str]]:
    """Environment of each worker, so that none takes another's devices.

    GPUs, TPU chips, or else the processor's cores are dealt out evenly.

    Args:
        workers: on this machine.

    Raises:
        ConfigError: there are fewer accelerators than workers.
    """
    for variable, names in (("CUDA_VISIBLE_DEVICES", _gpus()), ("TPU_VISIBLE_CHIPS", _tpus())):
        if names:
            if len(names) < workers:
                raise ConfigError(f"--workers {workers}: this machine has {len(names)} accelerators; each needs one.")
            return [{variable: ",".join(share)} for share in deal(names, workers)]
    cores = [str(core) for core in sorted(os.sched_getaffinity(0))]
    if len(cores) < workers:
        return [{} for _ in range(workers)]
    return [{CORES: ",".join(share)} for share in deal(cores, workers)]


CORES = "SPERMJAX_CORES"
"""Cores that a worker binds itself to before it starts threads."""


def bind() -> None:
    """Keeps this process on the cores that it was given."""
    if os.environ.get(CORES):
        os.sched_setaffinity(0, {int(core) for core in os.environ[CORES].split(",")})


def deal(things: Sequence[str], hands: int) -> list[list[str]]:
    """Contiguous shares whose sizes differ by one at most."""
    bounds = [len(things) * hand // hands for hand in range(hands + 1)]
    return [list(things[low:high]) for low, high in itertools.pairwise(bounds)]


def _gpus() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name and name != "-1"]
    if os.environ.get("JAX_PLATFORMS") == "cpu" or not shutil.which("nvidia-smi"):
        return []
    found = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=30)
    return [str(number) for number, _ in enumerate(found.stdout.splitlines())] if found.returncode == 0 else []


def _tpus() -> list[str]:
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return []
    return [path.name.removeprefix("accel") for path in sorted(Path("/dev").glob("accel[0-9]*"))]
