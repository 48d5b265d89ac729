"""The training loop: steps, evaluations and checkpoints, until done or told to stop."""

import contextlib
import dataclasses
import logging
import math
from collections.abc import Callable, Mapping

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
    if restored := checkpoints.restore(session.abstract_state(), step=step):
        state, meta = restored
        batches.set_state(meta["batches"])
    else:
        state = session.initial_state()
    taken = int(state.step)
    checkpoints.set_aside_after(taken)
    return Position(session.place(state), batches, checkpoints, taken)


def fit(
    session: Session, position: Position, evaluate: Evaluate, tracker: Tracker, until: int | None = None
) -> Outcome:
    """Trains from a position to the last step, evaluating and saving on the way.

    Metrics of a step are looked at when the next one is already on its way, so the
    device never waits for the host.

    Args:
        session: model, optimiser, data and step.
        position: where to start; it moves along.
        evaluate: variables to logged values of the validation split, and the score by
            which checkpoints rank.
        tracker: takes the metrics.
        until: step to end at, before the last one.

    Raises:
        DivergenceError: a loss or gradient was not finite, a loss spiked, or devices disagree (see `Checks`).
        CheckpointError: a checkpoint could not be written.
    """
    experiment, total = session.experiment, session.total_steps
    end = total if until is None else min(until, total)
    keep_every = experiment.schedule.keep_every
    evaluate_each = max(1, round(experiment.schedule.eval_every * session.steps_per_epoch))
    train = session.dataset.splits["train"]
    pending: tuple[int, np.ndarray, dict[str, jax.Array]] | None = None
    said: set[str] = set()

    def warn(title: str, text: str) -> None:
        logging.warning("%s", text)
        tracker.alert(title, text)

    def settle() -> None:
        """Reads the metrics of the last step, stops where they say so, logs if it is time or something is wrong."""
        nonlocal pending
        if pending is None:
            return
        step, index, metrics = pending
        pending = None
        ids, latest = (lambda: [train.id[i] for i in index]), position.checkpoints.latest_step
        warning = judge_step(step, metrics, ids, latest, experiment.checks)
        if warning is not None:
            warn("Loss spike", warning)
        if warning is not None or step % experiment.tracking.log_every == 0 or step == total:
            values = {f"train/{name}": float(value) for name, value in metrics.items() if name != "finite"}
            tracker.log(step, {"epoch": step / session.steps_per_epoch, **values})

    def assess() -> float:
        """Evaluates, logs, and ends training where devices disagree; gives the score."""
        differing = replica_difference(position.state)
        values, score = evaluate(session.whole(position.state.evaluated))
        values = {"train/replica_difference": float(differing), **values}
        tracker.log(position.step, {"epoch": position.step / session.steps_per_epoch, **values})
        judge_replicas(position.step, differing, position.checkpoints.latest_step)
        for title, text in judge_heads(values, position.step / total).items():
            if title not in said:
                warn(title, text)
            said.add(title)
        return score

    with contextlib.closing(position.checkpoints), interruptible() as interruption:
        while position.step < end and not interruption.signum:
            batch = next(position.batches)
            position.state, metrics = session.train_step(position.state, batch)
            position.step += 1
            settle()
            pending = (position.step, batch.index, metrics)
            due = position.step % evaluate_each == 0 or position.step == total
            kept = keep_every is not None and position.step % keep_every == 0
            if due or kept or interruption.signum or position.step == end:
                settle()
                score = assess() if due else math.nan
                position.checkpoints.save(position.state, {"batches": position.batches.get_state()}, score)
        settle()
    return Outcome(position.step, interruption.signum if position.step < end else None)
