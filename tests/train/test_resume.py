"""A run that is interrupted, killed or damaged ends as one that never was."""

import dataclasses
import itertools
import os
import shutil
import signal
import threading

import flax.struct
import jax
import numpy as np
import pytest

from spermjax.config import Checks, Loss, Model, Optim, Schedule
from spermjax.errors import CheckpointError, DivergenceError
from spermjax.run import create
from spermjax.tracking.jsonl import Jsonl, read
from spermjax.train.checkpoints import Checkpoints
from spermjax.train.loop import fit, locate
from spermjax.train.session import build_session
from tests.train import tiny


class Interrupting(Jsonl):
    """Sends the process a signal when a step is logged."""

    def __init__(self, *args, at: int, signum: int, **kwargs):
        super().__init__(*args, **kwargs)
        self.at, self.signum = at, signum

    def log(self, step, values):
        super().log(step, values)
        if step == self.at:
            os.kill(os.getpid(), self.signum)


def evaluate(params):
    """A score that falls, so that the best checkpoint is the first and the latest another."""
    norm = float(sum(np.abs(np.asarray(leaf)).sum() for leaf in jax.tree.leaves(params)))
    return {"validation/norm": norm}, -norm


def run_of(tmp_path, name, **changes):
    changes = {"optim": Optim(ema=0.9), "loss": Loss(mixup=0.2), **changes}
    experiment = tiny.experiment(tmp_path / name, **changes)
    return build_session(experiment, tiny.dataset()), create(experiment)


def train(session, run, tracker=None):
    position = locate(session, run)
    tracker = tracker or Jsonl(run.path, resume_step=position.step)
    outcome = fit(session, position, evaluate, tracker)
    tracker.finish()
    return outcome, jax.tree.map(np.asarray, position.state), read(run.path)


def same(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def without_time(lines):
    return [{name: value for name, value in line.items() if name != "time"} for line in lines]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return train(*run_of(tmp_path_factory.mktemp("unbroken"), "a"))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_and_resumed_equals_unbroken_bit_for_bit(tmp_path, unbroken, signum):
    """Parameters, average, optimiser state and every logged metric."""
    session, run = run_of(tmp_path, "b")
    stopped, _, _ = train(session, run, Interrupting(run.path, resume_step=None, at=4, signum=signum))
    assert stopped.signum == signum
    assert 4 <= stopped.step < session.total_steps
    outcome, state, lines = train(session, run)
    assert outcome.signum is None
    same(state, unbroken[1])
    assert without_time(lines) == without_time(unbroken[2])


def test_batch_statistics_and_unfreezing_resume_bit_for_bit(tmp_path):
    """Stopped before the step at which frozen parameters are trained too; running statistics are part of the state."""
    changes = {
        "model": Model(name="simple_cnn", cbam="last"),
        "optim": Optim(ema=0.9, freeze=("(?!head/|cbam/).*",), unfreeze_at=0.7),
        "schedule": Schedule(batch_size=16, steps=8, eval_every=1),
    }
    session, run = run_of(tmp_path, "whole", **changes)
    _, expected, expected_lines = train(session, run)
    before = jax.tree.map(np.asarray, session.initial_state().params["layer_0"])
    session, run = run_of(tmp_path, "stopped", **changes)
    stopped, state, _ = train(session, run, Interrupting(run.path, resume_step=None, at=3, signum=signal.SIGTERM))
    assert 3 <= stopped.step < 5
    same(state.params["layer_0"], before)
    _, state, lines = train(session, run)
    same(state, expected)
    assert not np.array_equal(state.params["layer_0"]["conv"]["kernel"], before["conv"]["kernel"])
    assert without_time(lines) == without_time(expected_lines)


def test_killed_between_checkpoints_equals_unbroken(tmp_path, unbroken):
    """As after `kill -9`: the loop is left without a chance to save."""

    class Killed(BaseException):
        pass

    class Killing(Jsonl):
        def log(self, step, values):
            super().log(step, values)
            if step == 5:
                raise Killed

    session, run = run_of(tmp_path, "c")
    with pytest.raises(Killed):
        train(session, run, Killing(run.path, resume_step=None))
    assert locate(session, run).step == 3
    _, state, lines = train(session, run)
    same(state, unbroken[1])
    assert without_time(lines) == without_time(unbroken[2])


@pytest.mark.parametrize("what", ["largest", "metrics/metrics"])
def test_damaged_checkpoint_falls_back_loudly(tmp_path, unbroken, caplog, what):
    session, run = run_of(tmp_path, "d")
    _, state, _ = train(session, run)
    latest = session.total_steps
    folder = run.checkpoints / str(latest)
    largest = max(folder.rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    damaged = largest if what == "largest" else folder / what
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content[:-1])
    position = locate(session, run)
    assert 0 < position.step < latest
    assert f"{run.checkpoints / str(latest)} is damaged" in caplog.text
    _, state, _ = train(session, run)
    same(state, unbroken[1])


def test_unfinished_checkpoint_is_not_trusted(tmp_path, caplog):
    session, run = run_of(tmp_path, "e")
    train(session, run)
    (run.checkpoints / f"{session.total_steps}.sha256.json").unlink()
    assert 0 < locate(session, run).step < session.total_steps
    assert "was not finished" in caplog.text


def test_all_checkpoints_damaged_is_an_error(tmp_path):
    session, run = run_of(tmp_path, "f")
    train(session, run)
    for sums in run.checkpoints.glob("*.sha256.json"):
        sums.write_text("{}")
    with pytest.raises(CheckpointError, match="No checkpoint of this run can be used"):
        locate(session, run)


def test_best_and_latest_are_kept_together(tmp_path):
    session, run = run_of(tmp_path, "g")
    train(session, run)
    scores = {line["step"]: line["validation/norm"] for line in read(run.path) if "validation/norm" in line}
    kept = {int(path.name) for path in run.checkpoints.iterdir() if path.name.isdigit()}
    assert {min(scores, key=scores.get), max(scores)} <= kept


def test_divergence_names_step_and_batch_and_keeps_the_checkpoint(tmp_path):
    session, run = run_of(tmp_path, "h")
    train(session, run)
    experiment = tiny.experiment(tmp_path / "i", optim=Optim(learning_rate=1e38, clip=None))
    session, run = build_session(experiment, tiny.dataset()), create(experiment)
    with pytest.raises(DivergenceError, match=r"diverged at step \d+: .*Batch: 0-\d+, 0-\d+"):
        train(session, run)
    shutil.rmtree(run.path)


def test_every_so_many_steps_are_kept_and_resumed_from(tmp_path, unbroken):
    """From the oldest kept checkpoint the run ends as it did; a step that is not there names those that are."""
    schedule = Schedule(batch_size=16, epochs=3, eval_every=1, keep_every=2)
    session, run = run_of(tmp_path, "j", schedule=schedule)
    train(session, run)
    kept = {int(path.name) for path in run.checkpoints.iterdir() if path.name.isdigit()}
    assert {2, 4, 6, 8} <= kept
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 5. There are: 2, "):
        locate(session, run, 5)
    position = locate(session, run, 2)
    assert position.step == 2
    tracker = Jsonl(run.path, resume_step=2)
    fit(session, position, evaluate, tracker)
    tracker.finish()
    same(jax.tree.map(np.asarray, position.state), unbroken[1])
    assert [line for line in without_time(read(run.path)) if "train/loss" in line] == [
        line for line in without_time(unbroken[2]) if "train/loss" in line
    ]


class SlowDisk(Checkpoints):
    """Takes until it is told."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.go_on = threading.Event()

    def _write(self, *args):
        assert self.go_on.wait(60)
        super()._write(*args)


def test_training_does_not_wait_for_the_disk(tmp_path, unbroken):
    """Steps are taken while a checkpoint is being written, and what is written is the state of its own step."""
    session, run = run_of(tmp_path, "k")
    position = locate(session, run)
    position.checkpoints = SlowDisk(run.checkpoints)
    during = []

    class Releasing(Jsonl):
        def log(self, step, values):
            super().log(step, values)
            if step == 5:
                during.extend(path.name for path in run.checkpoints.iterdir())
                position.checkpoints.go_on.set()

    tracker = Releasing(run.path, resume_step=None)
    fit(session, position, evaluate, tracker)
    tracker.finish()
    assert during == [], "five steps, and the checkpoint of step three is not there"
    same(jax.tree.map(np.asarray, position.state), unbroken[1])
    first = locate(session, run, 3)
    assert first.step == 3
    fit(session, first, evaluate, Jsonl(run.path, resume_step=3))
    same(jax.tree.map(np.asarray, first.state), unbroken[1])


def test_a_write_that_failed_ends_training_at_the_next(tmp_path):
    class FullDisk(Checkpoints):
        def _write(self, *args):
            del args
            raise CheckpointError("the disk is full")

    session, run = run_of(tmp_path, "l")
    position = locate(session, run)
    position.checkpoints = FullDisk(run.checkpoints)
    with pytest.raises(CheckpointError, match="disk is full"):
        fit(session, position, evaluate, Jsonl(run.path, resume_step=None))
    assert 3 <= position.step <= 6


def test_a_clock_that_goes_back_changes_nothing(tmp_path, unbroken, monkeypatch):
    """Lines stand in order of steps, and a resume cuts by step, whatever the time in them."""
    clock = itertools.count(2e9, -3600.0)
    monkeypatch.setattr("time.time", lambda: next(clock))
    session, run = run_of(tmp_path, "m")
    train(session, run, Interrupting(run.path, resume_step=None, at=4, signum=signal.SIGTERM))
    _, state, lines = train(session, run)
    assert [line["time"] for line in lines] == sorted((line["time"] for line in lines), reverse=True)
    same(state, unbroken[1])
    assert without_time(lines) == without_time(unbroken[2])


@flax.struct.dataclass
class FormerState:
    """The state as it was before it had `watch`."""

    step: object
    params: object
    statistics: object
    average: object
    optimizer: object


@pytest.mark.parametrize("on_spike", ["off", "warn"])
def test_checkpoint_older_than_a_field_of_the_state_is_resumed(tmp_path, on_spike, caplog, monkeypatch):
    session, run = run_of(tmp_path, "run", checks=Checks(on_spike=on_spike))
    position = locate(session, run)
    monkeypatch.setattr("spermjax.train.loop.judge_step", lambda *_: None)
    fit(session, position, evaluate, Jsonl(run.path, resume_step=0), until=4)
    whole = jax.tree.map(np.asarray, position.state)
    former = FormerState(**{f.name: getattr(whole, f.name) for f in dataclasses.fields(FormerState)})
    shutil.rmtree(run.checkpoints)
    checkpoints = Checkpoints(run.checkpoints)
    checkpoints.save(former, {"batches": position.batches.get_state()}, 0.0)
    checkpoints.close()
    resumed = locate(session, run)
    state = jax.tree.map(np.asarray, resumed.state)
    same(state, dataclasses.replace(whole, watch=jax.tree.map(np.asarray, session.initial_state().watch)))
    assert ("older than ['watch']" in caplog.text) == (on_spike == "warn")
    assert fit(session, resumed, evaluate, Jsonl(run.path, resume_step=4)).step == session.total_steps


@flax.struct.dataclass
class WithoutParameters:
    """What is no state."""

    step: object
    optimizer: object


def test_checkpoint_without_a_field_that_is_always_there_is_refused(tmp_path):
    session, run = run_of(tmp_path, "run")
    state = session.initial_state()
    checkpoints = Checkpoints(run.checkpoints)
    checkpoints.save(WithoutParameters(state.step, state.optimizer), {}, 0.0)
    checkpoints.close()
    with pytest.raises(CheckpointError, match="params"):
        locate(session, run)
