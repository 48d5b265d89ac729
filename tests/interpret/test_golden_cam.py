"""Witness: pytorch-grad-cam, through the numbers in `golden/`."""

import jax
import numpy as np
import pytest

from spermjax.interpret.grid import upsample
from spermjax.interpret.methods import cam
from tests.interpret.support import close_to_maximum
from tests.interpret.test_golden_maps import native
from tests.models.golden import NAMES

pytestmark = pytest.mark.golden

REFERENCES = {
    "grad_cam": "GradCAM",
    "grad_cam_plus_plus": "GradCAMPlusPlus",
    "hires_cam": "HiResCAM",
    "layer_cam": "LayerCAM",
    "xgrad_cam": "XGradCAM",
    "grad_cam_elementwise": "GradCAMElementWise",
    "eigen_cam": "EigenCAM",
    "eigen_grad_cam": "EigenGradCAM",
}

IN_SINGLE_PRECISION = {"xgrad_cam": 5e-4, "grad_cam_plus_plus": 1e-4}
"""These divide by sums over places that may be nearly zero; in double precision they agree too (test_golden_double)."""


def stretched(maps):
    maps = maps - maps.min(axis=(1, 2), keepdims=True)
    return maps / (1e-7 + maps.max(axis=(1, 2), keepdims=True))


def enlarged(maps, size):
    """As the reference shows maps: stretched to [0, 1] before and after they are upsampled."""
    return stretched(upsample(stretched(jax.nn.relu(maps)), size))


@pytest.mark.parametrize("name", NAMES)
def test_gradient_maps(golden, name):
    model = golden(name)
    run = jax.jit(lambda v, x, t: cam.maps_and_gradients(model.model, v, x, t))
    features, gradients = run(model.variables, model.images, model.targets)
    for method, reference in REFERENCES.items():
        expected = model.maps[f"ref:{reference}_norm1_last_raw4"]
        actual = np.asarray(getattr(cam, f"{method}_map")(features, gradients))
        if method.startswith("eigen"):
            # The sign of a component is arbitrary in the reference.
            actual = actual * np.sign((actual * expected).sum(axis=(1, 2), keepdims=True))
        close_to_maximum(actual, expected, IN_SINGLE_PRECISION.get(method, 1e-5))
        pixels = enlarged(expected, model.images.shape[1:3])
        np.testing.assert_allclose(pixels, model.maps[f"ref:{reference}_norm1_last_32"], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_two_layers_together(golden, name):
    """The reference takes the mean of both layers' maps as it shows them, and stretches it again."""
    model = golden(name)
    both = [upsample(stretched(native(model, "grad_cam", layer=layer)), model.images.shape[1:3]) for layer in (-2, -1)]
    pixels = stretched((both[0] + both[1]) / 2)
    np.testing.assert_allclose(pixels, model.maps["ref:GradCAM_norm1_last2layers_32"], atol=1e-5)


def test_negative_values_are_set_to_zero(golden):
    model = golden("gap")
    expected = np.maximum(model.maps["ref:GradCAM_norm1_last_raw4"], 0)
    close_to_maximum(native(model, "grad_cam"), expected)


def test_score_cam(golden):
    model = golden("cls")
    maps = native(model, "score_cam", positive=False)
    close_to_maximum(maps, model.maps["ref:ScoreCAM_norm1_last_raw4"])
    pixels = enlarged(maps, model.images.shape[1:3])
    np.testing.assert_allclose(pixels, model.maps["ref:ScoreCAM_norm1_last_32"], atol=1e-5)


def test_ablation_cam(golden):
    """The reference fills a channel with -1e7 instead of zero."""
    model = golden("cls")
    actual = enlarged(native(model, "ablation_cam", fill=-1e7), model.images.shape[1:3])
    np.testing.assert_allclose(actual, model.maps["ref:AblationCAM_norm1_last_32"], atol=1e-4)
