"""Metrics of a task with one class for each cell."""

from collections.abc import Iterable

import numpy as np
import scipy
from jaxtyping import Float, Int, Shaped

from spermjax.data.task import Task
from spermjax.evaluate import weighted
from spermjax.evaluate.intervals import Statistics, bootstrap, wilson
from spermjax.evaluate.scores import Scores

SELECTION = "accuracy"


def score(
    task: Task,
    logits: Float[np.ndarray, "examples classes"],
    label: Int[np.ndarray, "examples"],
    group: Shaped[np.ndarray, "examples"] | None,
    *,
    seed: int,
) -> Scores:
    """Accuracy, balanced accuracy, macro F1, AUROC, log loss and calibration, then each class.

    AUROC and average precision of a class are one against the rest, by softmax
    probability; the overall AUROC is their mean. Examples without a label are left out.

    Args:
        task: what was asked.
        logits: as for `spermjax.evaluate.score`, and so the rest.
        label: -1 where missing.
        group: what must not be taken for independent.
        seed: of the bootstrap.
    """
    labelled = label >= 0
    logits, label = logits[labelled], label[labelled]
    group = group[labelled] if group is not None else None
    n, classes, predicted = len(label), range(task.num_outputs), _predicted(logits)
    right = (predicted == label).astype(np.float64)
    drawn = bootstrap(_statistics(logits, label, by_class=classes), n, group, seed=seed)
    overall = {"accuracy": wilson(right, group)}
    overall |= {metric: interval for metric, interval in drawn.items() if "/" not in metric}
    per_name = {
        name: {
            "precision": wilson(np.where(predicted == k, right, np.nan), group),
            "recall": wilson(np.where(label == k, right, np.nan), group),
            **{metric: drawn[f"{metric}/{k}"] for metric in ("f1", "auroc", "average_precision")},
        }
        for k, name in enumerate(task.names)
    }
    counts = weighted.confusion(np.ones((1, n)), label, predicted, len(classes))[0].astype(int)
    return Scores(
        task=task,
        n=n,
        groups=n if group is None else len(np.unique(group)),
        overall=overall,
        per_name=per_name,
        counts={name: {"support": int(support)} for name, support in zip(task.names, counts.sum(1), strict=True)},
        confusion={"label": counts.tolist()},
    )


def quick(
    task: Task, logits: Float[np.ndarray, "examples classes"], label: Int[np.ndarray, "examples"]
) -> dict[str, float]:
    """The overall metrics alone, without intervals.

    Args:
        task: what was asked.
        logits: as for `spermjax.evaluate.quick`.
        label: -1 where missing.
    """
    del task
    labelled = label >= 0
    logits, label = logits[labelled], label[labelled]
    one = np.ones((1, len(label)))
    accuracy = weighted.mean(one, (_predicted(logits) == label).astype(np.float64))
    values = {"accuracy": accuracy, **_statistics(logits, label, by_class=())(one)}
    return {metric: float(value[0]) for metric, value in values.items()}


def _predicted(logits: Float[np.ndarray, "examples classes"]) -> Int[np.ndarray, "examples"]:
    return logits.argmax(-1)


def _statistics(
    logits: Float[np.ndarray, "examples classes"], label: Int[np.ndarray, "examples"], by_class: Iterable[int]
) -> Statistics:
    """What is bootstrapped: overall metrics, and `metric/k` for the classes asked for."""
    probability, predicted = scipy.special.softmax(logits, axis=-1), _predicted(logits)
    loss = -np.take_along_axis(scipy.special.log_softmax(logits, axis=-1), label[:, None], axis=-1)[:, 0]
    confidence = probability.max(-1, initial=0.0)
    classes = logits.shape[1]

    def statistics(weight):
        counts = weighted.confusion(weight, label, predicted, classes)
        f1 = weighted.f_score(counts)
        auroc = np.stack([weighted.auroc(weight, label == k, probability[:, k]) for k in range(classes)], axis=-1)
        defined = ~np.isnan(auroc)
        values = {
            "balanced_accuracy": weighted.macro(weighted.recall(counts), counts),
            "macro_f1": weighted.macro(f1, counts),
            "auroc": weighted.ratio(np.where(defined, auroc, 0).sum(-1), defined.sum(-1).astype(np.float64)),
            "log_loss": weighted.mean(weight, loss),
            "calibration_error": weighted.calibration_error(weight, confidence, predicted == label),
        }
        for k in by_class:
            values[f"f1/{k}"] = f1[:, k]
            values[f"auroc/{k}"] = auroc[:, k]
            values[f"average_precision/{k}"] = weighted.average_precision(weight, label == k, probability[:, k])
        return values

    return statistics
