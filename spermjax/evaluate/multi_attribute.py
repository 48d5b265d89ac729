"""Metrics of a task with several normal-or-abnormal attributes for each cell."""

import numpy as np
import scipy
from jaxtyping import Float, Int, Shaped

from spermjax.data.task import Task
from spermjax.evaluate import weighted
from spermjax.evaluate.intervals import Statistics, bootstrap, wilson
from spermjax.evaluate.scores import Scores

SELECTION = "auroc"
PER_ATTRIBUTE = ("auroc", "average_precision_abnormal", "balanced_accuracy", "f1_normal", "f0.5_normal")


def score(
    task: Task,
    logits: Float[np.ndarray, "examples attributes"],
    label: Int[np.ndarray, "examples attributes"],
    group: Shaped[np.ndarray, "examples"] | None,
    *,
    seed: int,
) -> Scores:
    """Mean AUROC, balanced accuracy and log loss over attributes, then each attribute.

    A cell is called abnormal where the logit is above 0 (probability above .5). F1 and
    F0.5 take **normal** as the positive side, as the papers on MHSMA do (Javadi &
    Mirroshandel 2019; Abbasi et al. 2020), and average precision takes **abnormal**,
    the rarer side, whose share is what chance gives; the names say so. AUROC and
    balanced accuracy are the same for either side. An attribute is scored on the
    examples that carry it.

    Args:
        task: what was asked.
        logits: as for `spermjax.evaluate.score`, and so the rest.
        label: -1 where missing.
        group: what must not be taken for independent.
        seed: of the bootstrap.
    """
    any_label = (label >= 0).any(-1)
    logits, label = logits[any_label], label[any_label]
    group = group[any_label] if group is not None else None
    per_name, counts, confusion = {}, {}, {}
    for a, name in enumerate(task.names):
        labelled = label[:, a] >= 0
        logit, side = logits[labelled, a], label[labelled, a]
        members = group[labelled] if group is not None else None
        drawn = bootstrap(_of_attribute(logit, side), len(side), members, seed=seed)
        right = ((logit > 0) == side).astype(np.float64)
        per_name[name] = {"accuracy": wilson(right, members), **{metric: drawn[metric] for metric in PER_ATTRIBUTE}}
        cells = weighted.confusion(np.ones((1, len(side))), side, (logit > 0).astype(int), 2)[0].astype(int)
        normal, abnormal = (int(side_count) for side_count in cells.sum(1))
        counts[name] = {"normal": normal, "abnormal": abnormal, "missing": int((~labelled).sum())}
        confusion[name] = cells.tolist()
    return Scores(
        task=task,
        n=len(label),
        groups=len(label) if group is None else len(np.unique(group)),
        overall=bootstrap(_overall(logits, label), len(label), group, seed=seed),
        per_name=per_name,
        counts=counts,
        confusion=confusion,
    )


def quick(
    task: Task, logits: Float[np.ndarray, "examples attributes"], label: Int[np.ndarray, "examples attributes"]
) -> dict[str, float]:
    """The means over attributes, then AUROC and accuracy of each, without intervals.

    Args:
        task: what was asked.
        logits: as for `spermjax.evaluate.quick`.
        label: -1 where missing.
    """
    values = {metric: float(value[0]) for metric, value in _overall(logits, label)(np.ones((1, len(label)))).items()}
    for a, name in enumerate(task.names):
        labelled = label[:, a] >= 0
        logit, side = logits[labelled, a], label[labelled, a]
        one = np.ones((1, len(side)))
        values[f"auroc/{name}"] = float(weighted.auroc(one, side == 1, logit)[0])
        values[f"accuracy/{name}"] = float(weighted.mean(one, ((logit > 0) == side).astype(np.float64))[0])
    return values


def _of_attribute(logit: Float[np.ndarray, "examples"], side: Int[np.ndarray, "examples"]) -> Statistics:
    abnormal, called = side == 1, (logit > 0).astype(int)

    def statistics(weight):
        counts = weighted.confusion(weight, side, called, 2)
        return {
            "auroc": weighted.auroc(weight, abnormal, logit),
            "average_precision_abnormal": weighted.average_precision(weight, abnormal, logit),
            "balanced_accuracy": weighted.recall(counts).mean(-1),
            "f1_normal": weighted.f_score(counts)[:, 0],
            "f0.5_normal": weighted.f_score(counts, beta=0.5)[:, 0],
        }

    return statistics


def _overall(
    logits: Float[np.ndarray, "examples attributes"], label: Int[np.ndarray, "examples attributes"]
) -> Statistics:
    """Means over the attributes whose two sides both occur; a resample that loses a side is undefined."""
    both = [a for a in range(label.shape[1]) if {0, 1} <= set(label[:, a].tolist())]
    labelled = label >= 0
    loss = np.where(labelled, -scipy.special.log_expit(np.where(label == 1, logits, -logits)), 0.0).sum(-1)

    def statistics(weight):
        undefined = np.full(len(weight), np.nan)
        auroc, balanced = [], []
        for a in both:
            known = weight[:, labelled[:, a]]
            logit, side = logits[labelled[:, a], a], label[labelled[:, a], a]
            auroc.append(weighted.auroc(known, side == 1, logit))
            balanced.append(weighted.recall(weighted.confusion(known, side, (logit > 0).astype(int), 2)).mean(-1))
        return {
            "auroc": np.mean(auroc, axis=0) if both else undefined,
            "balanced_accuracy": np.mean(balanced, axis=0) if both else undefined,
            "log_loss": weighted.ratio(weight @ loss, weight @ labelled.sum(-1).astype(np.float64)),
        }

    return statistics
