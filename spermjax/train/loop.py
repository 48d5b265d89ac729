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
from spermjax.parallel import STOP, from_first, is_first, of_first, share
from spermjax.run import Run
from spermjax.tracking import Tracker
from spermjax.train.checkpoints import Checkpoints, Elsewhere
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
        checkpoints: the run's, in the process that writes them.
        step: steps taken.
    """

    state: TrainState
    batches: grain.DatasetIterator
    checkpoints: Checkpoints | Elsewhere
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

    Newer checkpoints are set aside. Of several processes the first one reads, and tells the others.

    Raises:
        CheckpointError: checkpoints exist but all are damaged, or there is none of that step.
    """
    experiment = session.experiment
    size = experiment.schedule.batch_size
    batches = training_batches(
        session.dataset.splits["train"],
        size,
        experiment.seed,
        sampling=experiment.data.sampling,
        yields="index" if session.resident else "batch",
        share=share(size, session.devices),
    )
    if is_first():
        checkpoints = Checkpoints(run.checkpoints, keep_every=experiment.schedule.keep_every)
        begun = step is not None or checkpoints.latest_step() is not None
        restored = None
        if begun:
            restored = checkpoints.restore(session.abstract_state(), step=step, initial=session.initial_state)
        state, meta = restored or (session.initial_state(), None)
        checkpoints.set_aside_after(int(state.step))
    else:
        checkpoints, meta = Elsewhere(), None
        state = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), session.abstract_state())
    meta = from_first(lambda: meta)
    if meta is not None:
        batches.set_state(meta["batches"])
    state = of_first(state)
    return Position(session.place(state), batches, checkpoints, int(state.step))


class Observer:
    """Looks at a run on its way: judges and logs its steps and evaluations, and saves its state.

    Args:
        session: model, optimiser, data.
        checkpoints: of the run.
        evaluate: variables to logged values of the validation split, and the score by
            which checkpoints rank.
        tracker: takes the metrics.
    """

    def __init__(self, session: Session, checkpoints: Checkpoints | Elsewhere, evaluate: Evaluate, tracker: Tracker):
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
        differing = replica_difference(self._session.everywhere(state))
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
        if is_first():
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
    together, told = jax.process_count() > 1, 0

    def settle() -> None:
        """Looks at the last step, if it was not yet, and hears whether any process was asked to stop."""
        nonlocal pending, told
        if pending is not None:
            told = int(pending[-1].pop(STOP, 0))
            observer.look(*pending)
            pending = None

    with contextlib.closing(position.checkpoints), interruptible() as interruption:

        def asked() -> int | None:
            """The signal to stop: of several processes one that all have heard of, at the same step."""
            return told if together else interruption.signum

        while position.step < end and not asked():
            batch = next(position.batches)
            position.state, metrics = session.train_step(position.state, batch, interruption.signum or 0)
            position.step += 1
            settle()
            pending = (position.step, batch.index, metrics)
            if observer.rests(position.step):
                settle()
                observer.rest(position.step, position.state, position.batches)
        if pending is not None:
            settle()
            observer.rest(position.step, position.state, position.batches)
        return Outcome(position.step, (asked() or None) if position.step < end else None)
