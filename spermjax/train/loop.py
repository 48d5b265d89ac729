"""The training loop: steps, evaluations and checkpoints, until done or told to stop."""

import dataclasses
import math
from collections.abc import Callable, Mapping

import grain
import jax
import numpy as np

from spermjax.data.pipeline import training_batches
from spermjax.errors import DivergenceError
from spermjax.parallel import replicate
from spermjax.run import Run
from spermjax.tracking import Tracker
from spermjax.train.checkpoints import Checkpoints
from spermjax.train.interruption import interruptible
from spermjax.train.session import Session
from spermjax.train.state import TrainState, Variables

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


def locate(session: Session, run: Run) -> Position:
    """Finds the newest whole checkpoint of a run, or its start.

    Raises:
        CheckpointError: checkpoints exist but all are damaged.
    """
    experiment = session.experiment
    batches = training_batches(
        session.dataset.splits["train"],
        experiment.schedule.batch_size,
        experiment.seed,
        sampling=experiment.data.sampling,
        yields="index" if session.resident else "batch",
    )
    checkpoints = Checkpoints(run.checkpoints)
    if restored := checkpoints.restore(session.abstract_state()):
        state, meta = restored
        batches.set_state(meta["batches"])
    else:
        state = session.initial_state()
    step = int(state.step)
    checkpoints.drop_after(step)
    return Position(replicate(state, session.devices), batches, checkpoints, step)


def fit(session: Session, position: Position, evaluate: Evaluate, tracker: Tracker) -> Outcome:
    """Trains from a position to the last step, evaluating and saving on the way.

    Metrics of a step are looked at when the next one is already on its way, so the
    device never waits for the host.

    Args:
        session: model, optimiser, data and step.
        position: where to start; it moves along.
        evaluate: variables to logged values of the validation split, and the score by
            which checkpoints rank.
        tracker: takes the metrics.

    Raises:
        DivergenceError: a loss or gradient was not finite.
        CheckpointError: a checkpoint could not be written.
    """
    experiment, total = session.experiment, session.total_steps
    evaluate_each = max(1, round(experiment.schedule.eval_every * session.steps_per_epoch))
    train = session.dataset.splits["train"]
    pending: tuple[int, np.ndarray, dict[str, jax.Array]] | None = None

    def settle() -> None:
        """Reads the metrics of the last step, stops if they are not finite, logs if it is time."""
        nonlocal pending
        if pending is None:
            return
        step, index, metrics = pending
        pending = None
        if not float(metrics["finite"]):
            raise _divergence(step, metrics, [train.id[i] for i in index], position.checkpoints.latest_step())
        if step % experiment.tracking.log_every == 0 or step == total:
            values = {f"train/{name}": float(value) for name, value in metrics.items() if name != "finite"}
            tracker.log(step, {"epoch": step / session.steps_per_epoch, **values})

    with interruptible() as interruption:
        while position.step < total and not interruption.signum:
            batch = next(position.batches)
            position.state, metrics = session.train_step(position.state, batch)
            position.step += 1
            settle()
            pending = (position.step, batch.index, metrics)
            due = position.step % evaluate_each == 0 or position.step == total
            if due or interruption.signum:
                settle()
                score = math.nan
                if due:
                    values, score = evaluate(position.state.evaluated)
                    tracker.log(position.step, {"epoch": position.step / session.steps_per_epoch, **values})
                position.checkpoints.save(position.state, {"batches": position.batches.get_state()}, score)
        settle()
    position.checkpoints.close()
    return Outcome(position.step, interruption.signum if position.step < total else None)


def _divergence(step: int, metrics: dict[str, jax.Array], ids: list[str], latest: int | None) -> DivergenceError:
    kept = f"The checkpoint of step {latest} is from before" if latest else "No checkpoint had been saved"
    return DivergenceError(
        f"Training diverged at step {step}: loss {float(metrics['loss'])}, gradient norm "
        f"{float(metrics['gradient_norm'])}, learning rate {float(metrics['learning_rate']):.3g}. "
        f"Batch: {', '.join(ids)}. {kept}. Lower --optim.learning-rate, or set --optim.clip."
    )
