"""Where a result came from: code, versions, devices, command."""

import importlib.metadata
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

import spermjax
from spermjax.allocator import allocator

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "wandb", "numpy")


def environment() -> dict[str, Any]:
    """JSON-able facts that are stored with a run."""
    return {
        "spermjax": spermjax.__version__,
        "commit": _commit(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "devices": [f"{device.device_kind} {device.id}" for device in jax.devices()],
        "allocator": allocator(),
        "processes": jax.process_count(),
    }


def _commit() -> str | None:
    """The commit of a source checkout, marked when files differ from it; None for an installed package."""
    folder = Path(spermjax.__file__).parent
    try:
        found = subprocess.run(
            ["git", "-C", folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None
