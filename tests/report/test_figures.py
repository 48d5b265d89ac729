"""Pictures: what is coloured is what is relevant, and outlines lie on the edges of parts."""

import numpy as np
import pytest

from spermjax.parts import PARTS
from spermjax.report.figures import PART_COLOURS, normalise, outlined, overlay, panel


def colourfulness(picture):
    return np.ptp(picture.astype(int), axis=-1)


@pytest.fixture
def image():
    return np.full((32, 32, 3), 200, np.uint8)


def test_colour_lies_where_relevance_lies(image):
    relevance = np.zeros((32, 32), np.float32)
    relevance[8:16, 20:28] = 3.0
    picture = colourfulness(overlay(image, relevance, 128))
    where = np.argwhere(picture > 40).mean(0) / 4
    np.testing.assert_allclose(where, [12, 24], atol=0.5)
    assert picture[90:, :60].max() == 0


def test_viewing_does_not_depend_on_scale_or_shift_of_a_positive_map():
    relevance = np.random.default_rng(0).random((8, 8)) + 0.1
    np.testing.assert_allclose(normalise(7 * relevance + 2), normalise(relevance), atol=1e-5)


def test_negative_relevance_is_not_shown_and_constant_maps_are_blank():
    signed = np.array([[-5.0, 0.0], [1.0, 2.0]])
    np.testing.assert_allclose(normalise(signed), [[0, 0], [0.5, 1]])
    assert not normalise(np.full((3, 3), 4.0)).any()
    assert np.isfinite(normalise(np.array([[np.nan, 1.0], [np.inf, 2.0]]))).all()


def test_an_outline_has_its_parts_colour_on_the_edge_and_leaves_the_inside(image):
    parts = np.zeros((32, 32, len(PARTS)), bool)
    parts[8:24, 8:24, PARTS.index("vacuole")] = True
    drawn = outlined(image, parts, 128)
    colour = [int(PART_COLOURS["vacuole"][i : i + 2], 16) for i in (1, 3, 5)]
    rows, columns = np.nonzero((drawn == colour).all(-1))
    assert rows.min() in (31, 32, 33) and rows.max() in (94, 95, 96)
    assert columns.min() in (31, 32, 33) and columns.max() in (94, 95, 96)
    np.testing.assert_array_equal(drawn[64, 64], [200, 200, 200])
    assert len(set(PART_COLOURS.values())) == len(PARTS)


def test_a_panel_holds_a_tile_for_the_image_and_each_map(image):
    maps = np.random.default_rng(1).random((3, 32, 32))
    picture = panel(image, None, maps, ["rollout", "grad_cam", "raw_attention"], size=100)
    assert picture.dtype == np.uint8 and picture.shape == (122, 4 * 106 - 6, 3)
    np.testing.assert_array_equal(picture[22:, :100], 200)
    for number in (1, 2, 3):
        tile = picture[22:, number * 106 : number * 106 + 100]
        np.testing.assert_array_equal(tile, overlay(image, maps[number - 1], 100))
