"""A device for each core."""

import os
import subprocess
import sys

import pytest

from spermjax.cores import FEW, MOST, few_cores, use_cores

PROGRAM = """
import os
{before}
from spermjax.cores import use_cores
use_cores()
import jax
print(jax.device_count())
"""


def devices(before: str = "", **environment: str) -> int:
    """How many a fresh process sees."""
    kept = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    program = [sys.executable, "-c", PROGRAM.format(before=before)]
    return int(subprocess.run(program, env=kept | environment, check=True, capture_output=True, text=True).stdout)


def test_a_device_for_each_core_that_the_process_may_use():
    assert devices() == min(len(os.sched_getaffinity(0)), MOST)
    assert devices("os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})") == 1


@pytest.mark.parametrize(
    "environment", [{"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}, {"JAX_NUM_CPU_DEVICES": "3"}]
)
def test_a_number_that_the_user_set_stays(environment):
    assert devices(**environment) == 3


@pytest.mark.parametrize(("cores", "few"), [(1, True), (FEW, True), (FEW + 1, False)])
def test_few_cores(monkeypatch, cores, few):
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    use_cores()
    assert few_cores() == few
    use_cores()  # As a process does that was started by this one.
    assert few_cores() == few


def test_devices_that_the_user_made_are_not_our_cores(monkeypatch):
    monkeypatch.setattr(os, "environ", {"JAX_NUM_CPU_DEVICES": "2"})
    use_cores()
    assert not few_cores()


def test_at_most_so_many(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    use_cores()
    assert os.environ["JAX_NUM_CPU_DEVICES"] == str(MOST)
