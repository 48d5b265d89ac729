"""Divisions keep groups whole, classes even, and everybody in place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from spermjax.data import splits
from spermjax.errors import ConfigError, DataError

SEEDS = st.integers(0, 2**32)


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


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 5))
def test_new_images_move_few_others(seed, new):
    """Dealing in turn would move four of five; cutting at quantiles moves those at the cuts."""
    groups = [f"image {i}" for i in range(200 + new)]
    label = np.zeros(len(groups), np.int32)
    before = splits.assign(groups[:200], splits.strata(groups[:200], label[:200]), folds=5, seed=seed)
    after = splits.assign(groups, splits.strata(groups, label), folds=5, seed=seed)
    assert (before != after[:200]).sum() <= 4 * new + 4


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
