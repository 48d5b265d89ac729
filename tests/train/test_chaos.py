"""Half a minute of the storm in `benchmarks/chaos.py`; longer with `python -m benchmarks.chaos --minutes 5`."""

from pathlib import Path

import pytest

from benchmarks.chaos import Settings, storm


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.usefixtures("unwritten_cache")
def test_a_run_that_is_killed_cut_and_filled_at_random_ends_as_an_unbroken_one(tmp_path, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    result = storm(Settings(minutes=0.4), tmp_path)
    assert result["runs"] >= 1
    assert result["differing"] == 0
    assert sum(result["troubles"].values()) >= 2
