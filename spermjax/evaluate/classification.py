"""Classification metrics from logits: in full with intervals, or quickly as plain numbers."""

import numpy as np
from jaxtyping import Float, Int, Shaped

from spermjax.data.task import Task
from spermjax.errors import DataError, DivergenceError
from spermjax.evaluate import multi_attribute, single_label
from spermjax.evaluate.scores import Scores

KINDS = {"single_label": single_label, "multi_attribute": multi_attribute}


def score(
    task: Task,
    logits: Float[np.ndarray, "examples outputs"],
    label: Int[np.ndarray, "examples *attributes"],
    group: Shaped[np.ndarray, "examples"] | None = None,
    *,
    seed: int = 0,
) -> Scores:
    """All metrics of a task, each with its interval and sample size.

    Args:
        task: what was asked.
        logits: the model's, in the order of `task.names`.
        label: a class for each example, or 0 normal and 1 abnormal for each attribute;
            -1 where missing.
        group: what must not be taken for independent: patient, field or duplicate
            cluster of each example. None for independent examples.
        seed: of the bootstrap.

    Returns:
        The scores; a metric is NaN where it is undefined (one side only).

    Raises:
        DataError: shapes or labels do not belong to the task.
        DivergenceError: a logit is not finite.
    """
    _check(task, logits, label)
    return KINDS[task.kind].score(task, np.asarray(logits, np.float64), label, group, seed=seed)


def quick(
    task: Task, logits: Float[np.ndarray, "examples outputs"], label: Int[np.ndarray, "examples *attributes"]
) -> dict[str, float]:
    """The headline metrics without intervals, cheap enough for every epoch.

    Args:
        task: what was asked.
        logits: as for `score`.
        label: as for `score`.

    Returns:
        Values by name, `metric` or `metric/attribute`; NaN where undefined.

    Raises:
        DataError, DivergenceError: as for `score`.
    """
    _check(task, logits, label)
    return KINDS[task.kind].quick(task, np.asarray(logits, np.float64), label)


def selection_metric(task: Task) -> str:
    """The metric of `quick` by which the best checkpoint is chosen; higher is better."""
    return KINDS[task.kind].SELECTION


def _check(task: Task, logits: np.ndarray, label: np.ndarray) -> None:
    outputs, sides = task.num_outputs, task.num_outputs if task.kind == "single_label" else 2
    expected = (len(logits),) if task.kind == "single_label" else (len(logits), outputs)
    if logits.shape != (len(logits), outputs) or label.shape != expected:
        raise DataError(
            f"Logits of shape {logits.shape} with labels of shape {label.shape} can't be scored for a {task.kind} task "
            f"of {outputs} names: it takes logits (examples, {outputs}) and labels {expected}."
        )
    if label.size and (label.min() < -1 or label.max() >= sides):
        raise DataError(
            f"Labels go from {label.min()} to {label.max()}; allowed are 0 to {sides - 1}, and -1 for missing. "
            f"Check the data set's labels against its names: {', '.join(task.names)}."
        )
    broken = ~np.isfinite(logits).all(-1)
    if broken.any():
        raise DivergenceError(
            f"{broken.sum()} of {len(logits)} examples have logits that are not finite, the first at position "
            f"{broken.argmax()}. Evaluate an earlier checkpoint, or train with a lower learning rate."
        )
