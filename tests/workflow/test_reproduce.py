"""A run repeats itself bit for bit, and what does not is told."""

import json
import os
import shutil

import jax
import numpy as np
import pytest

from spermjax import determinism
from spermjax.cli import main
from spermjax.errors import ConfigError
from spermjax.workflow.environment import environment
from spermjax.workflow.reproduce import compare_environments, compare_metrics


@pytest.fixture
def copy_of_run(small_run, tmp_path):
    """A completed run in a folder of its own."""
    folder = tmp_path / "runs" / "small" / "one"
    shutil.copytree(small_run, folder)
    return folder


def reproduced(capsys, *words):
    capsys.readouterr()
    code = main(["reproduce", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_run_repeats_itself_bit_for_bit(copy_of_run, capsys):
    before = {path: path.read_bytes() for path in copy_of_run.rglob("*") if path.is_file()}
    code, result = reproduced(capsys, copy_of_run)
    rows = {row["what"]: row for row in result["rows"]}
    assert code == 0 and result["same"]
    assert rows["params"]["n"] > 1000 and rows["params"]["largest"] == 0
    assert rows["train/loss"]["n"] == result["steps"]
    assert any(name.startswith("validation/") for name in rows)
    assert before == {path: path.read_bytes() for path in before}, "the run itself is left as it was"
    assert main(["reproduce", str(copy_of_run), "--steps", "2"]) == 0
    assert "the same after 2 steps" in capsys.readouterr().out
    shutil.rmtree(copy_of_run / "checkpoints" / "2")
    assert main(["reproduce", str(copy_of_run), "--steps", "2"]) == 0
    assert "not compared: no checkpoint of step 2" in capsys.readouterr().out


def test_a_number_that_differs_is_told(copy_of_run, capsys):
    """Another learning rate in the recorded configuration is another run."""
    config = json.loads((copy_of_run / "config.json").read_text())
    config["optim"]["learning_rate"] *= 1.001
    (copy_of_run / "config.json").write_text(json.dumps(config))
    code, result = reproduced(capsys, copy_of_run)
    different = {row["what"] for row in result["rows"] if not row["same"]}
    assert code == 1 and not result["same"]
    assert {"params", "train/loss", "train/learning_rate"} <= different
    assert "epoch" not in different


def test_comparison_of_metrics_and_environments():
    then = [{"step": 1, "time": 5.0, "a": 1.0, "b": None}, {"step": 2, "time": 6.0, "a": 2.0}]
    now = [{"step": 1, "time": 9.0, "a": 1.5, "b": None}, {"step": 3, "time": 9.0, "a": 7.0}]
    a, b = compare_metrics(then, now, 2)
    assert (a.what, a.n, a.largest, a.same) == ("a", 1, 0.5, False) and "1 of 2" in a.note
    assert b.same and np.isnan(b.largest)
    (found,) = compare_environments(
        {"packages": {"jax": "1"}, "command": "x"}, {"packages": {"jax": "2"}, "command": "y"}
    )
    assert (found.what, found.note) == ("environment/packages.jax", "1 then, 2 now")


def test_deterministic_run_is_bound_to_its_topology():
    now = environment()
    determinism.check_same_topology({**now, "commit": "another"}, now)
    with pytest.raises(ConfigError, match=r"devices \['one'\] then"):
        determinism.check_same_topology({**now, "devices": ["one"]}, now)


def test_a_gpu_must_have_been_asked(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=")
    determinism.check_backend("cpu")
    with pytest.raises(ConfigError, match="before JAX starts"):
        determinism.check_backend("gpu")
    determinism.ask()
    determinism.ask()
    determinism.check_backend("gpu")
    assert os.environ["XLA_FLAGS"] == f"--xla_dump_to= {determinism.GPU_FLAG}"
    assert jax.default_backend() == "cpu"


def test_resuming_a_deterministic_run_elsewhere_is_refused(copy_of_run, capsys):
    config = json.loads((copy_of_run / "config.json").read_text())
    (copy_of_run / "config.json").write_text(json.dumps({**config, "deterministic": True}))
    assert main(["resume", str(copy_of_run)]) == 0
    stored = json.loads((copy_of_run / "environment.json").read_text())
    (copy_of_run / "environment.json").write_text(json.dumps({**stored, "devices": ["TPU v5 0"]}))
    assert main(["resume", str(copy_of_run)]) == 2
    assert "TPU v5 0" in capsys.readouterr().err
