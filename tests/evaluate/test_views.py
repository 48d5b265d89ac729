"""Eight views of a square, and the mean of what a model says of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from spermjax.evaluate.views import mean_logits, seen
from spermjax.models.build import build_model
from spermjax.train.session import make_predict
from tests.train import tiny


def test_the_eight_views_are_numpy_s_rotations_and_mirror_images():
    image = np.arange(75.0).reshape(5, 5, 3)
    views = [np.asarray(jax.jit(seen)(jnp.asarray(image), view)) for view in range(8)]
    expected = [np.rot90(side, turns) for side in (image, image[:, ::-1]) for turns in range(4)]
    assert {view.tobytes() for view in views} == {each.astype(np.float32).tobytes() for each in expected}
    np.testing.assert_array_equal(views[0], image)
    assert {view.tobytes() for view in views[:4]} == {
        each.astype(np.float32).tobytes() for each in (image, image[:, ::-1], image[::-1], image[::-1, ::-1])
    }


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([1.0, 30.0]))
def test_probabilities_are_averaged(seed, scale):
    logits = np.random.default_rng(seed).normal(scale=scale, size=(4, 6, 3)).astype(np.float32)
    wide = logits.astype(float)
    np.testing.assert_allclose(softmax(mean_logits("single_label", logits), -1), softmax(wide, -1).mean(0), atol=1e-5)
    np.testing.assert_allclose(expit(mean_logits("multi_attribute", logits)), expit(wide).mean(0), atol=1e-5)
    assert np.isfinite(mean_logits("multi_attribute", 1e4 * np.sign(logits))).all()


@pytest.mark.multidevice
def test_a_view_is_that_of_images_turned_beforehand_and_the_mean_does_not_see_how_a_cell_lies():
    """Over all eight views the answer is the same for an image and for its quarter turn."""
    examples = tiny.dataset().splits["validation"]
    model = build_model(tiny.experiment().model, 4)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    variables = {"params": jax.tree.map(lambda leaf: leaf * 3, variables["params"])}
    predict = make_predict(model, jax.local_devices()[:2], 4)
    turned = dataclasses.replace(examples, image=np.rot90(examples.image, axes=(1, 2)))
    np.testing.assert_allclose(predict(variables, examples, 4), predict(variables, turned), atol=1e-4)
    assert np.abs(predict(variables, examples) - predict(variables, turned)).max() > 1e-2
    means = [
        mean_logits("single_label", np.stack([predict(variables, cells, view) for view in range(8)]))
        for cells in (examples, turned)
    ]
    np.testing.assert_allclose(*means, atol=1e-4)
