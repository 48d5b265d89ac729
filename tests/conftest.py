"""Eight virtual devices, and the way to data that stays out of the repository."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Programs here are small and run once or twice: compiling them is most of the time.
FLAGS = (
    "--xla_force_host_platform_device_count=8",
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
)
os.environ["XLA_FLAGS"] = " ".join((os.environ.get("XLA_FLAGS", ""), *FLAGS))
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["WANDB_MODE"] = "offline"
os.environ.pop("WANDB_API_KEY", None)
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Tests build the same programs again and again, in one process and in those they start.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="spermjax-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

if "SPERMJAX_CACHE" not in os.environ:
    os.environ["SPERMJAX_CACHE"] = tempfile.mkdtemp(prefix="spermjax-tests-")
    atexit.register(shutil.rmtree, os.environ["SPERMJAX_CACHE"], ignore_errors=True)

import pytest  # noqa: E402  JAX reads the environment when it is first imported

ASSETS = Path(os.environ.get("SPERMJAX_TEST_ASSETS", Path(__file__).parents[2] / "shared"))


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Lets go of what a module compiled: each program takes memory maps, of which a process may have 65530."""
    yield
    import jax

    jax.clear_caches()


@pytest.fixture
def unwritten_cache(monkeypatch):
    """For tests that kill a process: JAX writes compiled programs in place, and whoever reads half of one aborts."""
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1e9")


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder with `data`, `golden` and `weights`; skips where it is absent."""
    if not (ASSETS / "golden").is_dir():
        pytest.skip(f"no test assets at {ASSETS}: set SPERMJAX_TEST_ASSETS to the folder that holds data/ and golden/")
    return ASSETS
