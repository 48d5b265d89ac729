"""A defect can be added and taken away, and nothing else moves."""

import jax
import numpy as np
import pytest

from spermjax.errors import ConfigError
from spermjax.phantom.defects import DEFECTS
from spermjax.phantom.interventions import GROUPS, add_defect, exchange, visible_change
from spermjax.phantom.population import ids, population
from spermjax.phantom.render import render


@pytest.fixture(scope="module")
def drawn():
    return population(ids("test")[:12])


@pytest.mark.parametrize("defect", DEFECTS)
def test_what_is_added_can_be_taken_away(drawn, defect):
    keys = jax.random.split(jax.random.key(0), 12)
    added = jax.vmap(lambda key, cell: add_defect(key, cell, defect))(keys, drawn.healthy)
    assert (visible_change(drawn.healthy, added).max((1, 2)) > 0.05).all()
    restored = exchange(added, drawn.healthy, DEFECTS[defect].group)
    np.testing.assert_array_equal(render(restored).image, render(drawn.healthy).image)


def test_every_defect_of_the_set_can_be_taken_away(drawn):
    cells = drawn.cells
    for group in GROUPS:
        cells = exchange(cells, drawn.healthy, group)
    assert visible_change(cells, drawn.healthy).max() == 0


def test_a_normal_cell_is_its_own_twin(drawn):
    changed = np.asarray(visible_change(drawn.cells, drawn.healthy).max((1, 2)) > 0)
    np.testing.assert_array_equal(changed, np.asarray(drawn.label) > 0)


def test_a_donor_gives_the_part_and_nothing_else(drawn):
    donor = jax.tree.map(lambda leaf: leaf[::-1], drawn.cells)
    mixed = exchange(drawn.cells, donor, "head")
    np.testing.assert_array_equal(mixed.head.length_um, donor.head.length_um)
    np.testing.assert_array_equal(mixed.tail.length_um, drawn.cells.tail.length_um)


def test_unknown_names_are_answered_with_the_nearest(drawn):
    with pytest.raises(ConfigError, match=r"'coiled_tial'.*'coiled_tail'"):
        add_defect(jax.random.key(0), drawn.cells, "coiled_tial")
    with pytest.raises(ConfigError, match=r"'vacuole'.*'vacuoles'"):
        exchange(drawn.cells, drawn.cells, "vacuole")
