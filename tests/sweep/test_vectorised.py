"""Trials that are trained side by side are those that are trained alone."""

import csv
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from spermjax.cli import main
from spermjax.config import Model, Parallel
from spermjax.data.pipeline import training_batches
from spermjax.errors import ConfigError
from spermjax.sweep import vectorised
from spermjax.sweep.command import begin
from spermjax.sweep.fields import put
from spermjax.sweep.folder import Folder
from spermjax.sweep.lanes import Lanes, kind
from spermjax.tracking import read
from spermjax.train.optim import kernels
from spermjax.train.session import build_session
from spermjax.workflow.train import train
from spermjax.workflow.trained import load_trained
from tests.sweep import test_engines
from tests.sweep.test_engines import steps, trials, write_sweep
from tests.train import tiny
from tests.workflow.conftest import write_experiment

TRIALS = (
    {"seed": 0, "optim.learning_rate": 1e-3, "optim.clip": 0.1, "guidance.weight": 0.5, "loss.label_smoothing": 0.0},
    {"seed": 7, "optim.learning_rate": 3e-3, "optim.clip": 1.0, "guidance.weight": 0.1, "loss.label_smoothing": 0.1},
    {"seed": 7, "optim.weight_decay": 0.5, "optim.beta2": 0.99, "optim.ema": 0.5, "guidance.weight": 1.0},
)


def experiments():
    base = tiny.experiment(
        model=Model(patch_size=4, width=16, depth=1, heads=2, dropout=0.1), parallel=Parallel(devices=2)
    )
    return [put(base, {"optim.ema": 0.9, "schedule.steps": 4} | trial) for trial in TRIALS]


@pytest.mark.multidevice
def test_each_lane_is_the_run_that_is_trained_alone():
    """Every traced field differs; three lanes on two devices, of which one is filled up."""
    data, alone = tiny.dataset(), []
    sessions = [build_session(experiment, data) for experiment in experiments()]
    together = Lanes(sessions[0], experiments(), [session.initial_state() for session in sessions])
    assert sessions[0].resident
    feeds = [
        training_batches(data.splits["train"], 16, session.experiment.seed, yields="index") for session in sessions
    ]
    states = [session.place(session.initial_state()) for session in sessions]
    for _ in range(4):
        batches = [next(feed) for feed in feeds]
        metrics = together.step(batches)
        alone = []
        for lane, (session, batch) in enumerate(zip(sessions, batches, strict=True)):
            states[lane], values = session.train_step(states[lane], batch)
            alone.append(values)
    for lane, (state, values) in enumerate(zip(states, alone, strict=True)):
        for name, value in values.items():
            np.testing.assert_allclose(metrics[name][lane], value, rtol=1e-4, atol=1e-6, err_msg=name)
        same(together.state(lane), state)
    # The rest goes on when a trial is over.
    together.keep([2])
    together.step(batches[2:])
    states[2], _ = sessions[2].train_step(states[2], batches[2])
    same(together.state(0), states[2])


def same(actual, expected):
    """Adam divides by the gradient's own size, so where that is rounding alone, as in a key's bias, so is the step."""
    for tree, other in ((actual.params, expected.params), (actual.average, expected.average)):
        jax.tree.map(
            lambda kept, a, b: kept and np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=0, atol=2e-5),
            kernels(tree),
            tree,
            other,
        )


def test_trials_whose_step_is_another_form_groups():
    base = tiny.experiment()
    kinds = [
        kind(put(base, values | {"tracking.run_id": str(number)}))
        for number, values in enumerate(
            (
                {"seed": 3, "optim.learning_rate": 1.0},
                {"guidance.weight": 0.0, "loss.label_smoothing": 0.1},
                {"guidance.weight": 0.1},
                {"guidance.weight": 0.2},
                {"optim.clip": None},
                {"model.attention": "gated"},
                {"data.fold": 1},
            )
        )
    ]
    assert [kinds.index(own) for own in kinds] == [0, 0, 2, 2, 4, 5, 6]


@pytest.mark.slow
def test_a_sweep_goes_on_after_a_signal_and_ends_in_ordinary_runs(tmp_path, monkeypatch):
    """Two kinds of two trials, of which one diverges; stopped at the first evaluation."""
    file = write_sweep(
        tmp_path,
        **{
            "model.depth": {"values": [1, 2]},
            "optim.learning_rate": {"values": [1e-3, 1e30]},
            "optim.clip": {"value": None},
            "schedule.epochs": {"value": 4.0},
        },
    )
    out = tmp_path / "out"
    command = ["sweep", str(file), "--out", str(out), "--engine", "vmap"]
    make_monitor = vectorised.make_monitor

    def stopping(session):
        monitor = make_monitor(session)

        def evaluate(variables):
            signal.raise_signal(signal.SIGTERM)
            return monitor(variables)

        return evaluate

    monkeypatch.setattr(vectorised, "make_monitor", stopping)
    assert main(command) == 128 + signal.SIGTERM
    monkeypatch.undo()
    assert main(command) == 0
    rows = trials(out)
    assert [row["state"] for row in rows] == ["complete", "fail", "complete", "fail"]
    assert all("learning rate" in row["error"] for row in rows if row["state"] == "fail")
    for row in rows[::2]:
        logged = [line["step"] for line in read(Path(row["run"])) if "train/loss" in line]
        assert logged == [1, 2, 3, 4]
        assert (Path(row["run"]) / "report" / "index.html").exists()
    found = load_trained(Path(rows[0]["run"]))
    experiment = put(found.experiment, {"tracking.runs": tmp_path / "alone"})
    alone = load_trained(train(experiment).path)
    assert alone.step == found.step
    jax.tree.map(
        lambda kept, a, b: kept and np.testing.assert_allclose(a, b, rtol=0, atol=2e-5),
        kernels(alone.variables["params"]),
        found.variables["params"],
        alone.variables["params"],
    )
    assert main(["compare", str(out), "--out", str(tmp_path / "comparison")]) == 0


@pytest.mark.slow
def test_hyperband_ends_what_falls_behind(tmp_path, monkeypatch):
    """Later trials learn less; each rung of a bracket lets one in two go on."""
    # Optuna draws brackets by the study's name, which holds the folder's.
    monkeypatch.setattr(Folder, "study_name", "study")
    rates = [10.0 ** (-2 - number) for number in range(8)]
    search = {
        "metric": {"name": "validation/log_loss", "goal": "minimize"},
        "early_terminate": {"type": "hyperband", "min_iter": 1, "max_iter": 4, "eta": 2},
    }
    schedule = {"schedule.epochs": {"value": 4.0}, "schedule.warmup": {"value": 0.0}}
    file = write_sweep(tmp_path, search, **schedule, **{"optim.learning_rate": {"values": rates}})
    assert main(["sweep", str(file), "--out", str(tmp_path / "out"), "--engine", "vmap"]) == 0
    rows = trials(tmp_path / "out")
    states = [row["state"] for row in rows]
    assert len(states) == 8 and set(states) == {"complete", "pruned"} and states[0] == "complete"
    ends = {state: [steps(row)[-1] for row in rows if row["state"] == state] for state in states}
    assert set(ends["complete"]) == {4} and min(ends["pruned"]) < 4
    assert [(Path(row["run"]) / "summary.json").exists() for row in rows] == [state == "complete" for state in states]


@pytest.mark.slow
def test_several_objectives_end_in_a_pareto_front(tmp_path, monkeypatch):
    """TPE over accuracy and the mass on the acrosome, on the dummy data of a set with masks."""
    monkeypatch.setattr(
        test_engines, "write_experiment", lambda folder, *_: write_experiment(folder, "sperm_parsing", "official")
    )
    search = {
        "method": "bayes",
        "run_cap": 4,
        "metric": [
            {"name": "validation/accuracy", "goal": "maximize"},
            {"name": "raw_attention/region_mass/acrosome", "goal": "maximize"},
        ],
    }
    rate = {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1}
    file = write_sweep(tmp_path, search, **{"optim.learning_rate": rate})
    out = tmp_path / "out"
    assert main(["sweep", str(file), "--out", str(out), "--engine", "vmap", "--workers", "2"]) == 0
    rows = trials(out)
    assert [row["state"] for row in rows] == ["complete"] * 4
    assert main(["compare", str(out), "--out", str(out / "comparison")]) == 0
    names = ["validation/accuracy", "raw_attention/region_mass/acrosome"]
    points = [tuple(float(row[name]) for name in names) for row in rows]
    unbeaten = {p for p in points if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points)}
    written = csv.DictReader((out / "comparison" / "pareto.csv").read_text().splitlines())
    front = {tuple(float(row[name]) for name in names) for row in written if row["on_front"] == "True"}
    np.testing.assert_allclose(sorted(front), sorted(unbeaten), rtol=1e-5)


def test_what_cannot_be_trained_side_by_side_is_refused(tmp_path):
    search = {"method": "bayes", "run_cap": 2}
    rates = {"optim.learning_rate": {"min": 1e-4, "max": 1e-3}}
    file = write_sweep(tmp_path, search, **rates, **{"parallel.mode": {"value": "fsdp"}})
    folder = begin(file, tmp_path / "out")
    with pytest.raises(ConfigError, match="say with --workers how many"):
        vectorised.run(folder, None, print)
