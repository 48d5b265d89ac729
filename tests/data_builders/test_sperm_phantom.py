"""The phantom: the common checks on a small population, and records that show the cells they name."""

from typing import ClassVar

import numpy as np
import pytest

from spermjax.data.catalogue import builder_class
from spermjax.data.images import pixels
from spermjax.parts import PARTS, unpack
from spermjax.phantom import population
from spermjax.phantom.render import render
from tests.data_builders.base import BuilderTest

SMALL = {"train": 12, "validation": 12, "test": 6}


@pytest.fixture(scope="class")
def small_population():
    """Few cells, so that the set is drawn in a second; they are the first of the whole set."""
    with pytest.MonkeyPatch.context() as patch:
        for split, size in SMALL.items():
            patch.setitem(population.SPLITS, split, size)
        yield


@pytest.mark.usefixtures("small_population")
class TestAligned(BuilderTest):
    NAME = "sperm_phantom"
    SPLITS: ClassVar[dict[str, int]] = SMALL

    def test_records_show_the_cells_they_name(self, records):
        for record in records["validation"]:
            drawn = population.population([record["id"].decode()])
            expected = render(drawn.cells)
            np.testing.assert_allclose(pixels(record["image"]) / 255.0, expected.image[0], atol=0.51 / 255)
            np.testing.assert_array_equal(unpack(pixels(record["parts"])), expected.parts[0])
            assert record["label"] == drawn.label[0]

    def test_every_part_occurs(self, records):
        bits = np.bitwise_or.reduce([pixels(record["parts"]) for found in records.values() for record in found], None)
        assert bits == (1 << len(PARTS)) - 1


@pytest.mark.usefixtures("small_population")
class TestFreeRotation(BuilderTest):
    NAME = "sperm_phantom/free_rotation"
    SPLITS: ClassVar[dict[str, int]] = SMALL


def test_the_whole_set_has_the_announced_size():
    cls, _ = builder_class("sperm_phantom")
    assert population.SPLITS == {"train": 3000, "validation": 600, "test": 600}
    assert set(cls.builder_configs) == {"aligned", "free_rotation"}
