"""Witness: the RISE repository, captum and exact enumeration, through the numbers in `golden/`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.interpret.methods.kernel_shap import coalition_sizes, random_coalitions, regression
from spermjax.interpret.methods.part_banzhaf import banzhaf
from spermjax.interpret.methods.part_shapley import shapley
from spermjax.interpret.methods.rise import weighted_masks
from tests.interpret.support import close_to_maximum

pytestmark = pytest.mark.golden


def test_rise(golden, golden_data):
    """The reference's masks, which it keeps with probability one half."""
    model, pixel_maps = golden("cls"), golden_data("pixelmaps.npz")
    masks = pixel_maps["rise/masks_u8"]
    masks = jnp.asarray(masks / 255.0 if masks.max() > 1 else masks, jnp.float32)
    expected = pixel_maps["rise/ref:saliency_all_classes_img0-1"]
    images, classes = model.images[: len(expected)], expected.shape[1]
    every = jnp.repeat(images, classes, axis=0)
    targets = jnp.tile(jnp.arange(classes), len(images))
    run = jax.jit(
        lambda v, x, t: weighted_masks(model.model, v, x, t, lambda n: masks[n], len(masks), keep=0.5, chunk=160)
    )
    close_to_maximum(run(model.variables, every, targets).reshape(expected.shape), expected)


def test_exact_values_of_patches(golden_data):
    pixel_maps = golden_data("pixelmaps.npz")
    values = jnp.asarray(pixel_maps["shapley16/coalition_values_f32"])[None]
    exact = shapley(values)[0]
    close_to_maximum(exact, pixel_maps["shapley16/own:shapley"])
    close_to_maximum(banzhaf(values)[0], pixel_maps["shapley16/own:banzhaf"])
    info = golden_data("info.json")
    close_to_maximum([exact.min(), exact.max()], info["shapley16_range"])
    farthest = jnp.abs(pixel_maps["shapley16/ref:captum_kernelshap_4000"] - exact).max()
    np.testing.assert_allclose(farthest, info["kernelshap4000_vs_exact_maxabs"], atol=1e-5 * exact.max())


def test_kernel_shap_is_as_near_the_exact_values_as_captum(golden_data):
    """With as many coalitions as captum was given; the game is a table of all coalitions' logits."""
    pixel_maps = golden_data("pixelmaps.npz")
    game = jnp.asarray(pixel_maps["shapley16/coalition_values_f32"])
    exact = pixel_maps["shapley16/own:shapley"]
    players = len(exact)

    @jax.jit
    def estimate(key):
        coalitions = random_coalitions(key, coalition_sizes(players, 2000), players)
        values = game[(coalitions << jnp.arange(players)).sum(axis=1)][None]
        return regression(coalitions, values, game[:1], game[-1:])[0]

    estimates = np.stack([estimate(jax.random.key(seed)) for seed in range(8)])
    np.testing.assert_allclose(estimates.sum(axis=1), game[-1] - game[0], rtol=1e-3)
    of_captum = np.abs(pixel_maps["shapley16/ref:captum_kernelshap_4000"] - exact).mean()
    assert np.abs(estimates - exact).mean() < 1.5 * of_captum
