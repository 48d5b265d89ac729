"""Who trains and who validates: divisions that depend on names and a seed alone.

Cells that belong together (one patient, one field, one head photographed twice) share
a group, and a group is never divided. Within each stratum the groups are ordered by a
hash of their name and cut into stretches, so that the order in which examples arrive
doesn't matter. Even strata and a division that nothing ever changes exclude each other;
this one comes near: a new group moves at most one other at each cut of its own stratum,
and none elsewhere, unless it makes a rare stratum a common one.
"""

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from spermjax.errors import ConfigError, DataError

OFFICIAL = ("train", "validation", "test")

Seed = int | str


def official(available: Sequence[str], name: str) -> tuple[str, ...]:
    """The published splits of a set.

    Args:
        available: names of the splits that the prepared set holds.
        name: the set's name, for the error.

    Returns:
        `train`, `validation` and, where there is one, `test`.

    Raises:
        ConfigError: when the set has no published training and validation splits.
    """
    if not {"train", "validation"} <= set(available):
        raise ConfigError(
            f"Data set {name!r} has no official split: it holds {', '.join(available)}, not train and validation. "
            "Choose --data.split kfold or --data.split holdout."
        )
    return tuple(split for split in OFFICIAL if split in available)


def kfold(
    groups: Sequence[str], label: Int[np.ndarray, "n *attributes"], *, folds: int, fold: int, seed: Seed
) -> dict[str, Int[np.ndarray, "_"]]:
    """One fold of a grouped, stratified k-fold division.

    Args:
        groups: the group of each example.
        label: class of each example, or attributes with -1 for a missing one.
        folds: number of folds, at least 2.
        fold: which of them validates, from 0.
        seed: another seed gives another division.

    Returns:
        Ascending indices of `train` and `validation`, the fold that is held out.

    Raises:
        ConfigError: when there is no such fold.
        DataError: when there are fewer groups than folds, or a fold gets no group.
    """
    if folds < 2 or not 0 <= fold < folds:
        raise ConfigError(f"There is no fold {fold} of {folds}: folds count from 0, and there are at least 2.")
    if len(set(groups)) < folds:
        raise DataError(f"{len(set(groups))} groups of examples can't make {folds} folds; lower --data.folds.")
    assigned = assign(groups, strata(groups, label), folds=folds, seed=seed)
    validation = assigned == fold
    if not validation.any() or validation.all():
        raise DataError(
            f"Fold {fold} of {folds} holds {validation.sum()} of {len(groups)} examples; lower --data.folds."
        )
    return {"train": np.flatnonzero(~validation), "validation": np.flatnonzero(validation)}


def holdout(
    groups: Sequence[str], label: Int[np.ndarray, "n *attributes"], *, folds: int, seed: Seed
) -> dict[str, Int[np.ndarray, "_"]]:
    """One grouped, stratified part in `folds` for validation: the first fold of `kfold`."""
    return kfold(groups, label, folds=folds, fold=0, seed=seed)


def leave_one_group_out(groups: Sequence[str], fold: int) -> dict[str, Int[np.ndarray, "_"]]:
    """One whole group for validation, such as a patient.

    Args:
        groups: the group of each example.
        fold: which group, from 0, in the order of their names.

    Returns:
        Ascending indices of `train` and `validation`.

    Raises:
        ConfigError: when there is no such group.
        DataError: when there is one group alone.
    """
    names = sorted(set(groups))
    if len(names) < 2:
        raise DataError(f"All examples are of one group ({names[0]}), so none can be left out; choose another split.")
    if not 0 <= fold < len(names):
        raise ConfigError(f"There is no group {fold} to leave out: --data.fold runs from 0 to {len(names) - 1}.")
    held_out = np.array([group == names[fold] for group in groups])
    return {"train": np.flatnonzero(~held_out), "validation": np.flatnonzero(held_out)}


def partition(
    groups: Sequence[str], label: Int[np.ndarray, "n *attributes"], *, shares: Mapping[str, float], seed: Seed
) -> dict[str, Int[np.ndarray, "_"]]:
    """One grouped, stratified division into parts of unequal size.

    Args:
        groups: the group of each example.
        label: class of each example, or attributes with -1 for a missing one.
        shares: name of each part and its share of the examples; they sum to 1.
        seed: another seed gives another division.

    Returns:
        Ascending indices of each part.

    Raises:
        DataError: when a part gets no example.
    """
    least = int(np.ceil(1.0 / min(shares.values())))
    cuts = np.cumsum(list(shares.values()))[:-1]
    part_of: dict[str, int] = {}
    for _, names, centre in _ordered(groups, strata(groups, label), least=least, seed=seed):
        part_of |= dict(zip(names, np.searchsorted(cuts, centre, side="right").tolist(), strict=True))
    part = np.array([part_of[group] for group in groups])
    indices = {name: np.flatnonzero(part == i) for i, name in enumerate(shares)}
    if empty := [name for name, members in indices.items() if not len(members)]:
        raise DataError(f"{len(part_of)} groups of examples leave {' and '.join(empty)} empty; choose another split.")
    return indices


def strata(groups: Sequence[str], label: Int[np.ndarray, "n *attributes"]) -> dict[str, Hashable]:
    """What is to be spread evenly: the commonest label within each group.

    Args:
        groups: the group of each example.
        label: class of each example, or attributes with -1 for a missing one.

    Returns:
        A stratum for each group; ties go to the smaller label.
    """
    counts: dict[str, Counter] = defaultdict(Counter)
    for group, value in zip(groups, label.reshape(len(groups), -1).tolist(), strict=True):
        counts[group][tuple(value)] += 1
    return {group: min(count, key=lambda value: (-count[value], value)) for group, count in counts.items()}


def assign(groups: Sequence[str], stratum: Mapping[str, Hashable], *, folds: int, seed: Seed) -> Int[np.ndarray, "n"]:
    """The fold of each example.

    Strata of fewer groups than folds are pooled, so that many rare combinations of
    attributes still fill all folds alike. Each stratum starts at a fold of its own, so
    that what doesn't divide evenly isn't left to the same folds by all strata.

    Args:
        groups: the group of each example.
        stratum: the stratum of each group.
        folds: number of folds.
        seed: seed of the order.

    Returns:
        Numbers in [0, folds), equal within a group.
    """
    fold_of: dict[str, int] = {}
    for value, names, centre in _ordered(groups, stratum, least=folds, seed=seed):
        start = _hash(seed, f"stratum {value}")
        fold_of |= {name: (int(c * folds) + start) % folds for name, c in zip(names, centre, strict=True)}
    return np.array([fold_of[group] for group in groups], dtype=np.int32)


def subset(
    ids: Sequence[str], label: Int[np.ndarray, "n *attributes"], *, limit: int, seed: Seed
) -> Int[np.ndarray, "_"]:
    """A stratified choice of examples; a smaller one lies within each larger one.

    Args:
        ids: the examples' names.
        label: their classes or attributes, whose shares are kept.
        limit: how many; all when there are no more.
        seed: seed of the choice.

    Returns:
        Ascending indices.

    Raises:
        ConfigError: for a limit below 1.
    """
    if limit < 1:
        raise ConfigError(f"--data.limit {limit} leaves no training example; give at least 1, or none for all.")
    members: dict[tuple, list[int]] = defaultdict(list)
    for index, value in enumerate(label.reshape(len(ids), -1).tolist()):
        members[tuple(value)].append(index)
    order = []
    for indices in members.values():
        indices.sort(key=lambda index: _hash(seed, ids[index]))
        order += [((rank + 0.5) / len(indices), _hash(seed, ids[index]), index) for rank, index in enumerate(indices)]
    return np.sort(np.array([index for *_, index in sorted(order)[:limit]], dtype=np.int64))


def check_disjoint(groups: Mapping[str, Sequence[str]]) -> None:
    """Refuses splits that share a group.

    Args:
        groups: for each split the groups of its examples.

    Raises:
        DataError: naming the splits and the groups that they share.
    """
    names = list(groups)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            shared = sorted(set(groups[first]) & set(groups[second]))
            if shared:
                raise DataError(
                    f"The splits {first} and {second} share {len(shared)} groups, so that one would be judged on cells "
                    f"of the other: {', '.join(shared[:5])}{', ...' if len(shared) > 5 else ''}. "
                    "Choose --data.split kfold, which keeps groups whole."
                )


def warn_of_rare(label: Int[np.ndarray, "n"], names: Sequence[str], groups: Sequence[str], folds: int) -> None:
    """Says in the log which classes have too few groups to be in every fold."""
    for value, name in enumerate(names):
        count = len({group for group, own in zip(groups, label.tolist(), strict=True) if own == value})
        if count < folds:
            logging.warning("class %s has %d groups, so it is not in each of %d folds", name, count, folds)


def _ordered(
    groups: Sequence[str], stratum: Mapping[str, Hashable], *, least: int, seed: Seed
) -> Iterator[tuple[Hashable, list[str], Float[np.ndarray, "_"]]]:
    """Each stratum's groups in the order of their hashes, and where in it, from 0 to 1, each group's middle lies.

    Strata of fewer groups than `least` are pooled as `rare`.
    """
    sizes = Counter(groups)
    population = Counter(stratum[group] for group in sizes)
    members: dict[Hashable, list[str]] = defaultdict(list)
    for group in sizes:
        members[stratum[group] if population[stratum[group]] >= least else "rare"].append(group)
    for value, names in members.items():
        names.sort(key=lambda name: _hash(seed, name))
        size = np.array([sizes[name] for name in names])
        yield value, names, (np.cumsum(size) - size / 2) / size.sum()


def _hash(seed: Seed, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:8], "big")
