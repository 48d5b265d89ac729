"""Bit for bit on one topology: what that asks of the compiler, said before JAX starts."""

import os
from collections.abc import Mapping
from typing import Any

from spermjax.errors import ConfigError

GPU_FLAG = "--xla_gpu_deterministic_ops=true"
"""GPUs sum in whatever order threads come, unless this is asked for; CPUs and TPUs do not."""
DECISIVE = ("devices", "processes", "packages", "platform")
"""What of a recorded environment bits depend on."""


def ask() -> None:
    """Asks XLA for determinism; to be called before JAX has started, as the command line does."""
    flags = os.environ.get("XLA_FLAGS", "")
    if GPU_FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {GPU_FLAG}".strip()


def check_backend(backend: str) -> None:
    """Refuses a GPU that was not asked for determinism.

    Raises:
        ConfigError: JAX had started before.
    """
    if backend == "gpu" and GPU_FLAG not in os.environ.get("XLA_FLAGS", ""):
        raise ConfigError(f"--deterministic on a GPU asks for XLA_FLAGS={GPU_FLAG} before JAX starts; set it.")


def check_same_topology(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses to go on with a deterministic run where its bits could come out otherwise.

    Args:
        then: the environment that the run recorded.
        now: this one.

    Raises:
        ConfigError: devices, versions or platform are not those of then.
    """
    changed = [name for name in DECISIVE if then.get(name) != now.get(name)]
    if changed:
        told = "; ".join(f"{name} {then.get(name)} then, {now.get(name)} now" for name in changed)
        raise ConfigError(
            f"The run was started with --deterministic, and its bits depend on what has changed since: {told}. "
            "Go on where it was started, or start a new run."
        )
