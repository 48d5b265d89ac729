"""Nested, repeated and the literature's divisions, as a configuration asks for them."""

import numpy as np
import pytest

from spermjax.config import Data
from spermjax.data.division import divide, leakage
from spermjax.data.splits import check_disjoint

IDS = [f"image {i}" for i in range(120)]
GROUPS = [f"patient {i // 3}" for i in range(120)]
LABEL = np.arange(120) // 3 % 2


def divided(**fields):
    return divide(IDS, GROUPS, LABEL, Data(name="x", **fields))


@pytest.mark.parametrize("split", ["kfold", "holdout", "leave_one_group_out"])
def test_nested_validation_comes_out_of_training_and_the_held_out_fold_is_the_test(split):
    outer, _ = divided(split=split)
    seen = []
    for inner_fold in range(5):
        nested, how = divided(split=split, inner_fold=inner_fold)
        check_disjoint({name: [GROUPS[i] for i in indices] for name, indices in nested.items()})
        np.testing.assert_array_equal(nested["test"], outer["validation"])
        np.testing.assert_array_equal(np.sort(np.r_[nested["train"], nested["validation"]]), outer["train"])
        assert f"as test, inner fold {inner_fold} of 5" in how
        seen.append(nested["validation"])
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), outer["train"])


def test_inner_folds_are_not_outer_ones():
    """Each inner validation split takes from several outer folds."""
    outer_of = np.empty(120, int)
    for fold in range(5):
        outer_of[divided(split="kfold", fold=fold)[0]["validation"]] = fold
    inner = divided(split="kfold", fold=0, inner_fold=0)[0]["validation"]
    assert len(set(outer_of[inner])) > 2


def test_each_repetition_divides_anew_and_the_first_is_the_plain_division():
    first, how = divided(split="kfold")
    again, _ = divided(split="kfold", repeat=0)
    second, how_second = divided(split="kfold", repeat=1)
    np.testing.assert_array_equal(first["validation"], again["validation"])
    shared = np.intersect1d(first["validation"], second["validation"])
    assert len(shared) < len(first["validation"]) / 2
    assert "repetition" not in how and "repetition 1" in how_second


def test_literature_s_split_is_that_of_single_images():
    """Were every image its own group, both would be the same division."""
    leaking, how = divided(split="literature")
    alone, _ = divide(IDS, IDS, LABEL, Data(name="x", split="literature_grouped"))
    for name, indices in leaking.items():
        np.testing.assert_array_equal(indices, alone[name])
    assert {name: len(indices) for name, indices in leaking.items()} == {"train": 84, "validation": 18, "test": 18}
    assert "not grouped" in how
    clean, how = divided(split="literature_grouped")
    check_disjoint({name: [GROUPS[i] for i in indices] for name, indices in clean.items()})
    assert abs(len(clean["train"]) - 84) <= 3 and "not grouped" not in how


def test_leakage_is_counted_in_examples():
    groups = {"train": ["a", "b"], "validation": ["a", "a", "c"], "test": ["d"]}
    assert leakage(groups).startswith("LEAKS: 2 of 3 validation and 0 of 1 test")


def test_without_known_duplicates_the_leak_is_said_to_be_unknown():
    alone = {"train": ["a", "b"], "validation": ["c"], "test": ["d"]}
    assert "--data.groups" in leakage(alone) and "LEAKS" not in leakage(alone)
    assert "1 of 1 validation" in leakage(alone | {"validation": ["a"]})
