"""What a person asks first when something does not run."""

import importlib.util
import netrc
import os
import shutil
from pathlib import Path
from typing import Any

import jax

from spermjax.allocator import SYSTEMS, allocator
from spermjax.data.catalogue import BUILDERS
from spermjax.data.prepare import default_data_dir
from spermjax.workflow.environment import environment


def examine() -> dict[str, Any]:
    """JSON-able facts about this installation; no secret is among them."""
    facts = environment()
    data_dir = default_data_dir()
    prepared = {name: _configurations(data_dir / name) for name in BUILDERS}
    return {
        "spermjax": facts["spermjax"],
        "commit": facts["commit"],
        "python": facts["python"],
        "platform": facts["platform"],
        "versions": facts["packages"],
        "backend": jax.default_backend(),
        "devices": facts["devices"],
        "data folder": str(data_dir),
        "data prepared": {name: " ".join(found) for name, found in prepared.items() if found},
        "data not prepared": [name for name, found in prepared.items() if not found],
        "compiled programs": os.environ.get("JAX_COMPILATION_CACHE_DIR", "not kept"),
        "allocator": _allocator(),
        "free disk": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB here",
        "W&B": wandb_state(),
        "TensorFlow": "installed, not used" if importlib.util.find_spec("tensorflow") else "not installed, not needed",
    }


def _allocator() -> str:
    name = allocator()
    return f"{name} (libtcmalloc_minimal.so.4 makes steps on a CPU faster)" if name == SYSTEMS else name


def wandb_state() -> str:
    """Whether runs go online, and why; the key itself is never shown."""
    if os.environ.get("WANDB_MODE") in ("offline", "disabled"):
        return f"{os.environ['WANDB_MODE']} (WANDB_MODE)"
    if os.environ.get("WANDB_API_KEY"):
        return "online (key in WANDB_API_KEY)"
    try:
        stored = netrc.netrc().authenticators("api.wandb.ai")
    except (OSError, netrc.NetrcParseError):
        stored = None
    return "online (key in ~/.netrc)" if stored else "offline (no key; `wandb login` stores one)"


def _configurations(folder: Path) -> list[str]:
    """Prepared configurations and versions of a data set, as TFDS lays them out."""
    return sorted(info.parent.relative_to(folder).as_posix() for info in folder.glob("**/dataset_info.json"))
