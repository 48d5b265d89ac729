"""The data set's cells can be drawn again, one by one."""

import jax
import numpy as np
import pytest

from spermjax.errors import DataError
from spermjax.phantom.defects import CLASSES
from spermjax.phantom.population import SPLITS, ids, population


def as_numpy(tree):
    """Leaves as NumPy arrays, random keys as their words."""
    return jax.tree.map(
        lambda leaf: np.asarray(
            jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        ),
        tree,
    )


def test_a_cell_is_the_same_alone_and_in_company():
    few = ids("validation")[:12]
    together, alone = as_numpy(population(few)), as_numpy(population(few[7:8]))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[7:8], b), together, alone)


def test_classes_are_balanced_in_every_split():
    for split in SPLITS:
        labels = np.array([int(identity.rpartition("/")[2]) % len(CLASSES) for identity in ids(split)])
        assert set(np.bincount(labels)) == {len(ids(split)) // len(CLASSES)}
    drawn = population(ids("test")[:12])
    np.testing.assert_array_equal(drawn.label, np.arange(12) % len(CLASSES))


def test_cells_differ_within_and_between_splits():
    lengths = [np.asarray(population(ids(split)[:100]).cells.head.length_um) for split in SPLITS]
    assert len(np.unique(np.concatenate(lengths))) > 298


def test_healthy_twins_differ_where_the_class_says():
    drawn = population(ids("train")[:24])
    group = {"head_defect": "head", "acrosome_defect": "acrosome", "vacuolated": "vacuoles"}
    group |= {"midpiece_defect": "midpiece", "tail_defect": "tail", "normal": None}
    cells, healthy = as_numpy(drawn.cells), as_numpy(drawn.healthy)
    for row, label in enumerate(np.asarray(drawn.label)):
        changed = {
            name
            for name in cells.__dataclass_fields__
            if any(
                (a[row] != b[row]).any()
                for a, b in zip(
                    jax.tree.leaves(getattr(cells, name)), jax.tree.leaves(getattr(healthy, name)), strict=True
                )
            )
        }
        assert changed == ({group[CLASSES[label]]} - {None})


def test_free_rotation_turns_the_same_cells_all_round():
    few = ids("train")[:100]
    aligned, free = population(few, 20.0), population(few, 180.0)
    assert np.abs(np.rad2deg(aligned.cells.pose.rotation)).max() <= 20
    turns = np.rad2deg(free.cells.pose.rotation)
    assert (np.histogram(turns, bins=4, range=(-180, 180))[0] > 10).all()
    jax.tree.map(np.testing.assert_array_equal, aligned.cells.tail, free.cells.tail)


@pytest.mark.parametrize("identity", ["train/3000", "trian/00000", "train", "train/-1", ""])
def test_an_unknown_id_is_named(identity):
    with pytest.raises(DataError, match="There is no phantom cell"):
        population([identity])
