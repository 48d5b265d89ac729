"""`--profile` says where a step's time goes, and leaves the run as it was."""

import json

import pytest

from spermjax.cli import main
from spermjax.run import find
from spermjax.workflow.estimate import prepared, step_flops
from tests.workflow.conftest import write_experiment


@pytest.fixture(scope="module")
def profiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiled")
    assert main(["train", str(write_experiment(folder, "hushem", "kfold")), "--steps", "2", "--profile"]) == 0
    return folder / "runs" / "small" / "one"


def test_parts_of_the_step_are_measured_and_written(profiled):
    table = json.loads((profiled / "profile" / "table.json").read_text())
    seconds = table["seconds"]
    assert set(seconds) == {"input", "forward", "backward", "capture", "optimiser", "rest", "host", "step"}
    assert all(value >= 0 for value in seconds.values())
    assert min(seconds[name] for name in ("input", "forward", "optimiser", "step")) > 0
    assert table["compile_seconds"] > 0
    experiment = prepared(find(profiled).experiment(), 1, None)
    assert table["flops"] == step_flops(experiment)
    assert table["utilisation"] == pytest.approx(table["flops"] / seconds["step"] / table["peak_flops_per_second"])
    assert 0 < table["utilisation"] < 1
    assert table["memory"]["arguments"] > 0


def test_a_trace_lies_beside_it(profiled):
    (trace,) = (profiled / "profile").glob("plugins/profile/*/*.xplane.pb")
    assert trace.stat().st_size > 1000


def test_the_run_is_as_without(profiled):
    lines = [json.loads(line) for line in (profiled / "metrics.jsonl").read_text().splitlines()]
    assert max(line["step"] for line in lines) == 2
    assert (profiled / "report" / "index.html").exists()
