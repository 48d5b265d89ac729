"""The head's axis against drawings whose axis is known by construction."""

import numpy as np
import pytest
from skimage.draw import ellipse
from skimage.measure import regionprops
from skimage.transform import rotate

from spermjax.clinic.axis import head_axis, image_axis, principal_axis
from spermjax.clinic.masks import centroid
from spermjax.parts import PARTS, pack
from spermjax.phantom.population import ids, population
from spermjax.phantom.render import render


@pytest.mark.parametrize("degrees", [-80, -45, -10, 20, 60, 89])
def test_axis_of_a_drawn_ellipse(degrees):
    """Witnesses: the angle it was drawn with, and scikit-image's orientation and centroid."""
    mask = np.zeros((120, 120), bool)
    mask[ellipse(60, 55, 40, 20, rotation=np.deg2rad(degrees))] = True
    axis = principal_axis(mask)
    drawn = np.array([np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))])
    assert abs(axis @ drawn) > 0.999
    region = regionprops(mask.astype(int))[0]
    assert abs(axis @ [np.sin(region.orientation), np.cos(region.orientation)]) > 0.9999
    np.testing.assert_allclose(centroid(mask), np.add(region.centroid[::-1], 0.5))
    assert axis[1] < 0 or axis[1] == 0


def test_no_axis_without_length():
    assert np.isnan(principal_axis(np.zeros((9, 9), bool))).all()
    assert np.isnan(principal_axis(np.eye(9, dtype=bool) & (np.arange(9) == 4))).all()
    assert np.isnan(principal_axis(np.ones((9, 9), bool))).all()


@pytest.mark.parametrize("front", [1, -1])
def test_acrosome_outranks_midpiece(front):
    """The acrosome's end is the front, even where a folded midpiece lies on the same side."""
    masks = np.zeros((40, 80, len(PARTS)), bool)
    masks[10:30, 20:60, PARTS.index("nucleus")] = True
    half = slice(40, 60) if front > 0 else slice(20, 40)
    masks[10:30, half, PARTS.index("midpiece")] = True
    np.testing.assert_allclose(head_axis(pack(masks)), [-front, 0], atol=1e-9)
    masks[10:30, half, PARTS.index("acrosome")] = True
    np.testing.assert_allclose(head_axis(pack(masks)), [front, 0], atol=1e-9)


@pytest.mark.parametrize("turn_deg", [0.0, 65.0, 140.0, 250.0])
def test_axis_of_the_image_is_near_that_of_the_masks(turn_deg):
    """Witness: exact masks of phantom cells of every class, turned by hand all round."""
    drawn = population(ids("validation")[:48])
    rendering = render(drawn.cells)
    errors, forward = [], []
    for image, mask in zip(np.array(rendering.image), np.array(rendering.parts), strict=True):
        grey = (255 * rotate(image, turn_deg, mode="edge")).astype(np.uint8)
        turned = rotate(mask.astype(np.float32), turn_deg, order=0) > 0.5
        seen, true = image_axis(grey), head_axis(pack(turned))
        errors.append(np.rad2deg(np.arccos(min(1.0, abs(seen @ true)))))
        forward.append(seen @ true > 0)
    assert np.median(errors) < 8 and np.percentile(errors, 90) < 20
    assert np.mean(forward) > 0.9


def test_a_flat_image_has_no_axis():
    assert np.isnan(image_axis(np.full((32, 32, 3), 120, np.uint8))).all()
