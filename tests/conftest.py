"""Eight virtual devices, and the way to data that stays out of the repository."""

import os
from pathlib import Path

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["WANDB_MODE"] = "offline"
os.environ.pop("WANDB_API_KEY", None)

import pytest

ASSETS = Path(os.environ.get("SPERMJAX_TEST_ASSETS", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder with `data`, `golden` and `weights`; skips where it is absent."""
    if not (ASSETS / "golden").is_dir():
        pytest.skip(f"no test assets at {ASSETS}: set SPERMJAX_TEST_ASSETS to the folder that holds data/ and golden/")
    return ASSETS
