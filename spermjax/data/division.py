"""The division that a configuration asks for, and the words that tell it."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from spermjax.config import Data
from spermjax.data import splits

LITERATURE = {"train": 0.70, "validation": 0.15, "test": 0.15}
"""Shares of the random hold-out by which most published numbers were taken."""


def divide(
    ids: Sequence[str], groups: Sequence[str], label: Int[np.ndarray, "n *attributes"], data: Data
) -> tuple[dict[str, Int[np.ndarray, "_"]], str]:
    """Divides examples by anything but the official split.

    Args:
        ids: the examples' names.
        groups: what belongs together.
        label: class of each example, or attributes with -1 for a missing one.
        data: which division, its folds and its seed.

    Returns:
        Ascending indices of `train`, `validation` and, for a nested division or the
        literature's, `test`; and the protocol in words.

    Raises:
        ConfigError: when there is no such fold.
        DataError: when there are too few groups.
    """
    seed = f"{data.split_seed} repetition {data.repeat}" if data.repeat else data.split_seed
    manner = f"split seed {data.split_seed}" + (f", repetition {data.repeat}" if data.repeat else "")
    if data.split == "literature":
        # Each image for itself, whatever it belongs to.
        chosen = splits.partition(ids, label, shares=LITERATURE, seed=seed)
        return chosen, f"literature's random hold-out 70/15/15 of {data.name} (by image, not grouped, {manner})"
    if data.split == "literature_grouped":
        chosen = splits.partition(groups, label, shares=LITERATURE, seed=seed)
        return chosen, f"hold-out 70/15/15 of {data.name} (grouped, stratified, {manner})"
    if data.split == "leave_one_group_out":
        chosen = splits.leave_one_group_out(groups, data.fold)
        name = groups[chosen["validation"][0]]
        how = f"group {name} of {len(set(groups))} left out of {data.name} ({manner})"
    elif data.split == "kfold":
        chosen = splits.kfold(groups, label, folds=data.folds, fold=data.fold, seed=seed)
        how = f"fold {data.fold} of {data.folds} of {data.name} (grouped, stratified, {manner})"
    else:
        chosen = splits.holdout(groups, label, folds=data.folds, seed=seed)
        how = f"hold-out of one part in {data.folds} of {data.name} (grouped, stratified, {manner})"
    if data.inner_fold is None:
        return chosen, how
    rest = chosen["train"]
    # A seed of its own: inner folds should not be the outer ones with a gap.
    inner = splits.kfold(
        [groups[int(i)] for i in rest], label[rest], folds=data.folds, fold=data.inner_fold, seed=f"{seed} inner"
    )
    chosen = {split: rest[indices] for split, indices in inner.items()} | {"test": chosen["validation"]}
    return chosen, f"{how} as test, inner fold {data.inner_fold} of {data.folds} of the rest as validation"


def leakage(groups: Mapping[str, Sequence[str]]) -> str:
    """How many held-out examples have a relative in training, in words.

    Args:
        groups: for each split the groups of its examples.
    """
    everyone = [group for own in groups.values() for group in own]
    if len(set(everyone)) == len(everyone):
        return (
            "may leak: every image is its own group, so it is not known which show one cell; give duplicates by "
            "--data.groups (spermjax data check NAME --out DIR writes the file)"
        )
    trained = set(groups["train"])
    counts = [
        f"{sum(group in trained for group in own)} of {len(own)} {split}"
        for split, own in groups.items()
        if split != "train"
    ]
    return f"LEAKS: {' and '.join(counts)} examples share a group with training examples"
