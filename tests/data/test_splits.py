"""Divisions keep groups whole, classes even, and everybody in place."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold

from spermjax.data import splits
from spermjax.errors import ConfigError, DataError

SEEDS = st.integers(0, 2**32)
SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}


@st.composite
def sets(draw, attributes=False):
    """Groups of one to a few examples, with labels."""
    rng = np.random.default_rng(draw(SEEDS))
    count = draw(st.integers(20, 120))
    groups = [f"g{rng.integers(count)}" for _ in range(count)]
    label = rng.integers(-1, 2, (count, 3)) if attributes else rng.integers(0, 4, count)
    return groups, label.astype(np.int32)


@settings(max_examples=30, deadline=None)
@given(sets() | sets(attributes=True), st.integers(2, 6), SEEDS)
def test_folds_divide_the_examples_and_no_group(data, folds, seed):
    groups, label = data
    assigned = splits.assign(groups, splits.strata(groups, label), folds=folds, seed=seed)
    for fold in range(folds):
        if not (assigned == fold).any():  # one large group may take the room of two folds
            with pytest.raises(DataError, match="holds 0"):
                splits.kfold(groups, label, folds=folds, fold=fold, seed=seed)
            continue
        chosen = splits.kfold(groups, label, folds=folds, fold=fold, seed=seed)
        np.testing.assert_array_equal(chosen["validation"], np.flatnonzero(assigned == fold))
        np.testing.assert_array_equal(np.sort(np.concatenate(list(chosen.values()))), np.arange(len(groups)))
        splits.check_disjoint({name: [groups[i] for i in indices] for name, indices in chosen.items()})


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(2, 6), st.integers(6, 60))
def test_no_fold_is_empty_where_groups_are_single(seed, folds, count):
    label = np.random.default_rng(seed).integers(-1, 2, (count, 4))
    groups = [str(i) for i in range(count)]
    fold = splits.assign(groups, splits.strata(groups, label), folds=folds, seed=seed)
    assert set(fold) == set(range(folds))


@settings(max_examples=30, deadline=None)
@given(sets(), SEEDS, st.randoms(use_true_random=False))
def test_order_of_the_examples_does_not_matter(data, seed, random):
    groups, label = data
    shuffled = list(range(len(groups)))
    random.shuffle(shuffled)
    straight = splits.assign(groups, splits.strata(groups, label), folds=5, seed=seed)
    other = [groups[i] for i in shuffled]
    np.testing.assert_array_equal(
        splits.assign(other, splits.strata(other, label[shuffled]), folds=5, seed=seed), straight[shuffled]
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(10, 60), min_size=2, max_size=5), SEEDS, st.integers(2, 6))
def test_each_class_is_spread_evenly(counts, seed, folds):
    label = np.repeat(np.arange(len(counts)), counts)
    groups = [str(i) for i in range(len(label))]
    fold = splits.assign(groups, splits.strata(groups, label), folds=folds, seed=seed)
    for value, count in enumerate(counts):
        per_fold = np.bincount(fold[label == value], minlength=folds)
        assert set(per_fold) <= {count // folds, -(-count // folds)}


@settings(max_examples=50, deadline=None)
@given(sets(), SEEDS, st.integers(2, 6))
def test_a_new_group_moves_at_most_one_other_at_each_cut_of_its_own_stratum(data, seed, folds):
    groups, label = data
    before = splits.strata(groups, label)
    grown, label = [*groups, "new"], np.append(label, 0)
    after = splits.strata(grown, label)
    common = Counter(before.values())
    if common[(0,)] < folds:  # It may turn a rare stratum into a common one, whose groups then leave the others.
        return
    fold = splits.assign(groups, before, folds=folds, seed=seed)
    fold_after = splits.assign(grown, after, folds=folds, seed=seed)[:-1]
    moved = {group for group, a, b in zip(groups, fold, fold_after, strict=True) if a != b}
    assert len(moved) <= folds - 1
    assert {before[group] for group in moved} <= {(0,)}


@settings(max_examples=30, deadline=None)
@given(sets(), SEEDS)
def test_a_new_group_moves_at_most_one_other_at_each_cut_of_a_partition(data, seed):
    groups, label = data
    label = np.zeros_like(label)
    kinds = {}
    for name, members, own in (("before", groups, label), ("after", [*groups, "new"], np.append(label, 0))):
        parts = splits.partition(members, own, shares=SHARES, seed=seed)
        kinds[name] = {members[i]: part for part, indices in parts.items() for i in indices}
    assert sum(kinds["after"][group] != part for group, part in kinds["before"].items()) <= 2


@settings(max_examples=30, deadline=None)
@given(sets() | sets(attributes=True), SEEDS)
def test_a_partition_holds_each_example_once_and_divides_no_group(data, seed):
    groups, label = data
    parts = splits.partition(groups, label, shares=SHARES, seed=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(groups)))
    splits.check_disjoint({name: [groups[i] for i in indices] for name, indices in parts.items()})


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(7, 60), min_size=1, max_size=5), SEEDS)
def test_a_partition_keeps_its_shares_in_every_class(counts, seed):
    label = np.repeat(np.arange(len(counts)), counts)
    parts = splits.partition([str(i) for i in range(len(label))], label, shares=SHARES, seed=seed)
    for value, count in enumerate(counts):
        for name, share in SHARES.items():
            assert abs((label[parts[name]] == value).sum() - share * count) <= 1


def test_a_partition_with_an_empty_part_is_refused():
    with pytest.raises(DataError, match="2 groups of examples leave"):
        splits.partition(["a", "b"], np.zeros(2, int), shares=SHARES, seed=0)


@settings(max_examples=20, deadline=None)
@given(sets())
def test_leaving_one_group_out_is_scikit_learn_s(data):
    groups, label = data
    witness = list(LeaveOneGroupOut().split(label, label, groups))
    for fold, (train, validation) in enumerate(witness):
        chosen = splits.leave_one_group_out(groups, fold)
        np.testing.assert_array_equal(chosen["train"], train)
        np.testing.assert_array_equal(chosen["validation"], validation)
    with pytest.raises(ConfigError, match=f"runs from 0 to {len(witness) - 1}"):
        splits.leave_one_group_out(groups, len(witness))
    with pytest.raises(DataError, match="one group"):
        splits.leave_one_group_out(["a", "a"], 0)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(6, 40), min_size=2, max_size=4), SEEDS, st.integers(2, 6))
def test_classes_per_fold_are_scikit_learn_s_up_to_the_order_of_folds(counts, seed, folds):
    """Witness: StratifiedKFold, each image its own group; over the folds a class has the same numbers."""
    label = np.repeat(np.arange(len(counts)), counts)
    groups = [str(i) for i in range(len(label))]
    own = splits.assign(groups, splits.strata(groups, label), folds=folds, seed=seed)
    witness = [validation for _, validation in StratifiedKFold(folds).split(label, label)]
    for value in range(len(counts)):
        mine = [(label[own == fold] == value).sum() for fold in range(folds)]
        assert sorted(mine) == sorted((label[validation] == value).sum() for validation in witness)


def test_seed_changes_the_division_and_nothing_else_does():
    groups, label = [str(i) for i in range(500)], np.zeros(500, np.int32)
    first, second, again = (splits.holdout(groups, label, folds=5, seed=seed)["validation"] for seed in (0, 1, 0))
    np.testing.assert_array_equal(first, again)
    shared = len(set(first) & set(second))
    # By chance 100 * 100 / 500 = 20, hypergeometric.
    assert stats.hypergeom(500, 100, 100).cdf(shared) > 1e-4 and shared < 45


def test_division_is_that_of_earlier_releases():
    """A number that must never change: published results refer to these folds."""
    groups, label = [f"cell {i}" for i in range(12)], np.array([0, 1] * 6)
    assert splits.assign(groups, splits.strata(groups, label), folds=3, seed=0).tolist() == [
        2,
        1,
        1,
        0,
        2,
        2,
        1,
        2,
        0,
        0,
        0,
        1,
    ]


def test_a_group_goes_by_its_commonest_label():
    label = np.array([[0, 1], [0, 1], [1, 1], [1, -1], [0, 0]])
    assert splits.strata(["a", "a", "a", "b", "b"], label) == {"a": (0, 1), "b": (0, 0)}


def test_holdout_is_one_part_in_folds():
    groups, label = [str(i) for i in range(100)], np.arange(100) % 2
    assert len(splits.holdout(groups, label, folds=4, seed=3)["validation"]) in range(24, 27)


@pytest.mark.parametrize(("folds", "fold"), [(5, 5), (5, -1), (1, 0), (0, 0)])
def test_no_such_fold(folds, fold):
    with pytest.raises(ConfigError, match="fold"):
        splits.kfold(["a", "b", "c"], np.zeros(3, int), folds=folds, fold=fold, seed=0)


def test_more_folds_than_groups():
    with pytest.raises(DataError, match="2 groups"):
        splits.kfold(["a", "a", "a", "b"], np.zeros(4, int), folds=3, fold=0, seed=0)


def test_official_needs_training_and_validation():
    assert splits.official(["validation", "train", "test"], "x") == ("train", "validation", "test")
    with pytest.raises(ConfigError, match=r"--data.split kfold"):
        splits.official(["full"], "hushem")


def test_shared_groups_are_refused_by_name():
    with pytest.raises(DataError, match=r"train and test share 1 group.*patient 7"):
        splits.check_disjoint({"train": ["patient 7", "b"], "validation": ["c"], "test": ["patient 7"]})


@settings(max_examples=30, deadline=None)
@given(sets() | sets(attributes=True), SEEDS, st.integers(1, 60), st.integers(1, 60))
def test_subsets_are_nested_and_keep_the_shares(data, seed, one, other):
    groups, label = data
    ids = [f"{group}/{i}" for i, group in enumerate(groups)]
    small, large = (splits.subset(ids, label, limit=limit, seed=seed) for limit in sorted((one, other)))
    assert len(small) == min(one, other, len(ids)) and set(small) <= set(large)
    for value in np.unique(label, axis=0):
        member = (label == value).reshape(len(ids), -1).all(1)
        assert abs(member[large].sum() - member.mean() * len(large)) <= 1


def test_subset_of_nothing():
    with pytest.raises(ConfigError, match=r"--data.limit 0"):
        splits.subset(["a"], np.zeros(1, int), limit=0, seed=0)


def test_rare_classes_are_logged(caplog):
    label = np.array([0] * 10 + [1] * 2)
    splits.warn_of_rare(label, ("normal", "coiled"), [str(i) for i in range(12)], 5)
    assert "coiled" in caplog.text and "normal" not in caplog.text
