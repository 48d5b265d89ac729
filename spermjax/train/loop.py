"""The training loop: steps, evaluations and checkpoints, until done or told to stop."""

import contextlib
import dataclasses
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import grain
import jax
import numpy as np

from spermjax.data.pipeline import training_batches
from spermjax.run import Run
from spermjax.tracking import Tracker
from spermjax.train.checkpoints import Checkpoints
from spermjax.train.interruption import interruptible
from spermjax.train.replicas import replica_difference
from spermjax.train.session import Session
from spermjax.train.state import TrainState, Variables
from spermjax.train.trouble import judge_heads, judge_replicas, judge_step

Evaluate = Callable[[Variables], tuple[Mapping[str, float], float]]


@dataclasses.dataclass
class Position:
    """Where a run stands: what is needed to take its next step.

    Attributes:
        state: on the session's devices.
        batches: the iterator that yields the next batch.
        checkpoints: the run's.
        step: steps taken.
    """

    state: TrainState
    batches: grain.DatasetIterator
    checkpoints: Checkpoints
    step: int


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How the loop ended.

    Attributes:
        step: steps taken.
        signum: the signal that stopped it, or None when all steps were taken.
    """

    step: int
    signum: int | None


def locate(session: Session, run: Run, step: int | None = None) -> Position:
    """Finds the newest whole checkpoint of a run, that of a step, or the run's start.

    Newer checkpoints are set aside.

    Raises:
        CheckpointError: checkpoints exist but all are damaged, or there is none of that step.
    """
    experiment = session.experiment
    batches = training_batches(
        session.dataset.splits["train"],
        experiment.schedule.batch_size,
        experiment.seed,
        sampling=experiment.data.sampling,
        yields="index" if session.resident else "batch",
    )
    checkpoints = Checkpoints(run.checkpoints, keep_every=experiment.schedule.keep_every)
    begun = step is not None or checkpoints.latest_step() is not None
    if begun and (restored := checkpoints.restore(session.abstract_state(), step=step, initial=session.initial_state)):
        state, meta = restored
        batches.set_state(meta["batches"])
    else:
        state = session.initial_state()
    taken = int(state.step)
    checkpoints.set_aside_after(taken)
    return Position(session.place(state), batches, checkpoints, taken)


class Observer:
    """Looks at a run on its way: judges and logs its steps and evaluations, and saves its state.

    Args:
        session: model, optimiser, data.
        checkpoints: of the run.
        evaluate: variables to logged values of the validation split, and the score by
            which checkpoints rank.
        tracker: takes the metrics.
    """

    def __init__(self, session: Session, checkpoints: Checkpoints, evaluate: Evaluate, tracker: Tracker):
        self._session, self._checkpoints = session, checkpoints
        self._evaluate, self._tracker = evaluate, tracker
        self._evaluate_each = max(1, round(session.experiment.schedule.eval_every * session.steps_per_epoch))
        self._said: set[str] = set()

    def look(self, step: int, index: np.ndarray, metrics: Mapping[str, Any]) -> None:
        """Reads the metrics of a step, and logs if it is time or something is wrong.

        Args:
            step: steps taken with it.
            index: places of its examples in the training split.
            metrics: scalars.

        Raises:
            DivergenceError: a loss or gradient was not finite, or a loss spiked (see `Checks`).
        """
        experiment, train = self._session.experiment, self._session.dataset.splits["train"]
        warning = judge_step(
            step, metrics, lambda: [train.id[i] for i in index], self._checkpoints.latest_step, experiment.checks
        )
        if warning is not None:
            self._warn("Loss spike", warning)
        if warning is not None or step % experiment.tracking.log_every == 0 or step == self._session.total_steps:
            values = {f"train/{name}": float(value) for name, value in metrics.items() if name != "finite"}
            self._log(step, values)

    def rests(self, step: int) -> bool:
        """Whether the run is evaluated or saved after a step."""
        keep_every = self._session.experiment.schedule.keep_every
        return self._evaluated(step) or (keep_every is not None and step % keep_every == 0)

    def rest(self, step: int, state: TrainState, batches: grain.DatasetIterator) -> None:
        """Evaluates if it is time, and saves.

        Args:
            step: steps taken.
            state: on the session's devices.
            batches: the iterator that yields the next batch.

        Raises:
            DivergenceError: devices disagree.
            CheckpointError: the checkpoint before could not be written.
        """
        score = self._assess(step, state) if self._evaluated(step) else math.nan
        self._checkpoints.save(state, {"batches": batches.get_state()}, score)

    def _evaluated(self, step: int) -> bool:
        return step % self._evaluate_each == 0 or step == self._session.total_steps

    def _assess(self, step: int, state: TrainState) -> float:
        differing = replica_difference(state)
        values, score = self._evaluate(self._session.whole(state.evaluated))
        self._log(step, {"train/replica_difference": float(differing), **values})
        judge_replicas(step, differing, self._checkpoints.latest_step)
        for title, text in judge_heads(values, step / self._session.total_steps).items():
            if title not in self._said:
                self._warn(title, text)
            self._said.add(title)
        return score

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        self._tracker.log(step, {"epoch": step / self._session.steps_per_epoch, **values})

    def _warn(self, title: str, text: str) -> None:
        logging.warning("%s", text)
        self._tracker.alert(title, text)


def fit(
    session: Session, position: Position, evaluate: Evaluate, tracker: Tracker, until: int | None = None
) -> Outcome:
    """Trains from a position to the last step, evaluating and saving on the way.

    Metrics of a step are looked at when the next one is already on its way, so the
    device never waits for the host.

    Args:
        session: model, optimiser, data and step.
        position: where to start; it moves along.
        evaluate: as for `Observer`.
        tracker: as for `Observer`.
        until: step to end at, before the last one.

    Raises:
        DivergenceError, CheckpointError: as `Observer`.
    """
    end = session.total_steps if until is None else min(until, session.total_steps)
    observer = Observer(session, position.checkpoints, evaluate, tracker)
    pending: tuple[int, np.ndarray, dict[str, jax.Array]] | None = None
    with contextlib.closing(position.checkpoints), interruptible() as interruption:
        while position.step < end and not interruption.signum:
            batch = next(position.batches)
            position.state, metrics = session.train_step(position.state, batch)
            position.step += 1
            if pending is not None:
                observer.look(*pending)
            pending = (position.step, batch.index, metrics)
            if observer.rests(position.step):
                observer.look(*pending)
                pending = None
                observer.rest(position.step, position.state, position.batches)
        if pending is not None:
            observer.look(*pending)
            observer.rest(position.step, position.state, position.batches)
    return Outcome(position.step, interruption.signum if position.step < end else None)
