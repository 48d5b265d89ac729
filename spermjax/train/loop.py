"""The training loop: steps, evaluations and checkpoints, until done or told to stop."""

import dataclasses
import math
from collections.abc import Callable, Mapping

import jax
import numpy as np
import optax

from spermjax.data.pipeline import training_batches
from spermjax.errors import DivergenceError
from spermjax.parallel import replicate
from spermjax.run import Run
from spermjax.tracking import Tracker
from spermjax.train.checkpoints import Checkpoints
from spermjax.train.interruption import interruptible
from spermjax.train.session import Session

Evaluate = Callable[[optax.Params], tuple[Mapping[str, float], float]]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How the loop ended.

    Attributes:
        step: steps taken.
        signum: the signal that stopped it, or None when all steps were taken.
    """

    step: int
    signum: int | None


def fit(session: Session, run: Run, evaluate: Evaluate, tracker: Callable[[int], Tracker]) -> Outcome:
    """Trains from the newest whole checkpoint, or from the start, to the last step.

    Metrics of a step are looked at when the next one is already on its way, so the
    device never waits for the host.

    Args:
        session: model, optimiser, data and step.
        run: where checkpoints go; the caller holds its lock.
        evaluate: parameters to logged values of the validation split, and the score by
            which checkpoints rank.
        tracker: opens the trackers, given the step to go on from.

    Raises:
        DivergenceError: a loss or gradient was not finite.
        CheckpointError: no checkpoint could be read or written.
    """
    experiment, total = session.experiment, session.total_steps
    evaluate_each = max(1, round(experiment.schedule.eval_every * session.steps_per_epoch))
    train = session.dataset.splits["train"]
    batches = training_batches(train, experiment.schedule.batch_size, experiment.seed)
    checkpoints = Checkpoints(run.checkpoints)
    state = session.initial_state()
    if restored := checkpoints.restore(jax.eval_shape(lambda: state)):
        state, meta = restored
        batches.set_state(meta["batches"])
        checkpoints.drop_after(int(state.step))
    start = int(state.step)
    state = replicate(state, session.devices)
    log = tracker(start)
    pending: tuple[int, np.ndarray, dict[str, jax.Array]] | None = None

    def settle() -> None:
        """Reads the metrics of the last step, stops if they are not finite, logs if it is time."""
        nonlocal pending
        if pending is None:
            return
        step, index, metrics = pending
        pending = None
        if not float(metrics["finite"]):
            raise _divergence(step, metrics, [train.id[i] for i in index], checkpoints)
        if step % experiment.tracking.log_every == 0 or step == total:
            values = {f"train/{name}": float(value) for name, value in metrics.items() if name != "finite"}
            log.log(step, {"epoch": step / session.steps_per_epoch, **values})

    with interruptible() as interruption:
        for step in range(start + 1, total + 1):
            batch = next(batches)
            state, metrics = session.train_step(state, batch)
            settle()
            pending = (step, batch.index, metrics)
            log.progress(step)
            due = step % evaluate_each == 0 or step == total
            if due or interruption.signum:
                settle()
                score = math.nan
                if due:
                    values, score = evaluate(state.evaluated)
                    log.log(step, {"epoch": step / session.steps_per_epoch, **values})
                checkpoints.save(state, {"batches": batches.get_state()}, score)
            if interruption.signum:
                break
    checkpoints.close()
    return Outcome(int(state.step), interruption.signum if int(state.step) < total else None)


def _divergence(
    step: int, metrics: dict[str, jax.Array], ids: list[str], checkpoints: Checkpoints
) -> DivergenceError:
    latest = checkpoints.latest_step()
    kept = f"The checkpoint of step {latest} is from before" if latest else "No checkpoint had been saved"
    return DivergenceError(
        f"Training diverged at step {step}: loss {float(metrics['loss'])}, gradient norm "
        f"{float(metrics['gradient_norm'])}, learning rate {float(metrics['learning_rate']):.3g}. "
        f"Batch: {', '.join(ids)}. {kept}. Lower --optim.learning-rate, or set --optim.clip."
    )
