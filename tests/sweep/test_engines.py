"""The engines, end to end on the dummy data of a real builder: each runs all trials once, whoever dies."""

import csv
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from spermjax.cli import main
from spermjax.config import Experiment
from spermjax.sweep.devices import CORES, deal, shares
from spermjax.tracking import read
from tests.workflow.conftest import write_experiment

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[2]


def write_sweep(folder: Path, search=None, **parameters) -> Path:
    """A sweep of seconds; `search` holds further keys of its file."""
    import yaml

    tiny = {"schedule.epochs": {"value": 2.0}, "tracking.wandb": {"value": "disabled"}, **parameters}
    raw = {
        "program": str(write_experiment(folder, "hushem", "kfold")),
        "method": "grid",
        "metric": {"name": "validation/accuracy", "goal": "maximize"},
        "parameters": tiny,
    } | (search or {})
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def trials(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "trials.csv").read_text().splitlines()))


def each_trial_ran_once(out: Path, count: int) -> None:
    """Every run logged its steps once: none was trained twice, none is torn."""
    rows = trials(out)
    assert [int(row["trial"]) for row in rows] == list(range(count))
    assert [row["state"] for row in rows] == ["complete"] * count
    for row in rows:
        assert steps(row) == sorted(set(steps(row))) != []


def steps(row: dict[str, str]) -> list[float | None]:
    """The steps that a trial's run logged."""
    return [line["step"] for line in read(Path(row["run"])) if "train/loss" in line]


@pytest.mark.usefixtures("unwritten_cache")
def test_local_engine_goes_on_after_a_kill_and_a_crash_is_in_the_table(tmp_path):
    """Killed with no chance to clean up as soon as a trial is told; one trial diverges."""
    file = write_sweep(
        tmp_path,
        **{"seed": {"values": [0, 1]}, "optim.learning_rate": {"values": [1e-3, 1e30]}, "optim.clip": {"value": None}},
    )
    command = [
        sys.executable,
        "-m",
        "spermjax.cli",
        "sweep",
        str(file),
        "--out",
        str(tmp_path / "out"),
        "--workers",
        "2",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("trial ")
    process.kill()
    process.wait()
    again = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=600)
    assert again.returncode == 0, again.stderr
    rows = trials(tmp_path / "out")
    assert [(row["optim.learning_rate"], row["state"]) for row in rows] == [
        ("0.001", "complete"),
        ("1e+30", "fail"),
        ("0.001", "complete"),
        ("1e+30", "fail"),
    ]
    assert all("learning rate" in row["error"] for row in rows if row["state"] == "fail")
    assert main(["sweep", str(file), "--out", str(tmp_path / "out")]) == 0, "a finished sweep only prints its table"
    other = write_sweep(tmp_path, seed={"values": [5]})
    assert main(["sweep", str(other), "--out", str(tmp_path / "out")]) == 2


def test_slurm_engine_by_submitits_local_executor(tmp_path):
    pytest.importorskip("submitit", reason="pip install 'spermjax[cluster]'")
    file, out = write_sweep(tmp_path, seed={"values": [0, 1]}), tmp_path / "out"
    words = ["--engine", "slurm", "--slurm.cluster", "local", "--workers", "2"]
    assert main(["sweep", str(file), "--out", str(out), *words]) == 0
    each_trial_ran_once(out, 2)


@pytest.mark.usefixtures("unwritten_cache")
def test_ray_engine_stops_what_falls_behind_and_replaces_a_worker_that_was_killed(tmp_path, monkeypatch):
    """ASHA: the third and worst trial is killed at its start, taken over, and stopped at its first evaluation."""
    ray = pytest.importorskip("ray", reason="pip install 'spermjax[ray]'")
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    search = {
        "metric": {"name": "validation/log_loss", "goal": "minimize"},
        "early_terminate": {"type": "asha", "min_iter": 1, "eta": 2},
    }
    file, out = (
        write_sweep(tmp_path, search, **{"optim.learning_rate": {"values": [1e-2, 1e-4, 1e-9]}}),
        tmp_path / "out",
    )
    killed = threading.Event()

    def kill_the_third() -> None:
        from spermjax.sweep import study as studies
        from spermjax.sweep.folder import find

        while not killed.wait(0.5):
            trials = find(out).study().trials if (out / "runs").exists() else []
            owner = trials[2].user_attrs.get(studies.OWNER) if len(trials) == 3 else None
            if owner and trials[2].state.name == "RUNNING":
                os.kill(int(owner.split(":")[1]), signal.SIGKILL)
                killed.set()

    thread = threading.Thread(target=kill_the_third, daemon=True)
    thread.start()
    assert main(["sweep", str(file), "--out", str(out), "--engine", "ray", "--workers", "2"]) == 0
    thread.join(timeout=5)
    assert killed.is_set() and not ray.is_initialized()
    rows = trials(out)
    # Which of them falls behind hangs on who reports first.
    states = [row["state"] for row in rows]
    assert len(states) == 3 and set(states) == {"complete", "pruned"}
    ends = {state: [steps(row)[-1] for row in rows if row["state"] == state] for state in states}
    assert min(ends["complete"]) > min(ends["pruned"])


def test_devices_are_dealt_out(monkeypatch):
    assert deal(["0", "1", "2", "3", "4"], 2) == [["0", "1"], ["2", "3", "4"]]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert shares(2) == [{"CUDA_VISIBLE_DEVICES": "4,5"}, {"CUDA_VISIBLE_DEVICES": "6,7"}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    cores = [core for share in shares(1) for core in share[CORES].split(",")]
    assert sorted(map(int, cores)) == sorted(os.sched_getaffinity(0))


def test_the_experiment_that_is_stored_is_the_one_that_was_checked(tmp_path):
    file = write_sweep(tmp_path, seed={"values": [0]})
    from spermjax.sweep.command import begin
    from spermjax.sweep.folder import find

    folder = begin(file, tmp_path / "out")
    assert find(tmp_path / "out").study_name == folder.study_name
    assert Experiment.from_dict(folder.base.to_dict()) == folder.base
