"""Insertion and deletion curves: ends, symmetry, and models whose decisive patch is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.interpret.metrics import METRICS
from spermjax.interpret.metrics.faithfulness import area_under, curve, schedule
from spermjax.interpret.metrics.removal import blur, fill
from spermjax.interpret.model import FunctionModel
from tests.interpret.support import Foreign

SCORES = jnp.asarray(np.random.default_rng(0).permutation(16).reshape(1, 4, 4).repeat(5, 0), jnp.float32)


@functools.partial(jax.jit, static_argnums=0, static_argnames=("mode", "chunk"))
def logits(model, variables, images, scores, mode, chunk=20):
    return curve(model, variables, images, scores, mode=mode, chunk=chunk)[1]


def test_curves_run_between_the_whole_image_and_none_of_it(foreign, cells):
    model, variables = foreign
    removed, given, reversed_order = (
        logits(model, variables, cells.image, scores, mode=mode)
        for scores, mode in ((SCORES, "deletion"), (SCORES, "insertion"), (-SCORES, "deletion"))
    )
    clean = model.apply(variables, cells.image)
    np.testing.assert_allclose(removed[0], clean, atol=1e-5)
    np.testing.assert_allclose(given[-1], clean, atol=1e-5)
    assert np.isfinite(removed).all()
    assert len(removed) == 16 + (model.reads == "class_token")
    # What deletion of the reversed order has left is what insertion has given.
    np.testing.assert_allclose(reversed_order[::-1], given, atol=1e-5)


def test_left_out_tokens_are_as_if_never_there(foreign, cells):
    """After half of the patches are removed, their pixels no longer matter."""
    model, variables = foreign
    half = logits(model, variables, cells.image, SCORES, mode="deletion")[8]
    gone = np.asarray(SCORES >= 8).repeat(4, 1).repeat(4, 2)[..., None]
    painted = logits(model, variables, np.where(gone, 0.0, cells.image), SCORES, mode="deletion")[8]
    np.testing.assert_allclose(painted, half, atol=1e-5)


@pytest.mark.parametrize("replacement", ["mean", "blur", 0.0])
def test_a_map_of_the_decisive_patch_is_the_most_faithful(replacement, cells):
    def function(images):
        patch = images[:, 4:8, 8:12].std(axis=(1, 2, 3))
        return jnp.stack([20 * patch, jnp.ones_like(patch)], axis=1)

    model, targets = FunctionModel(function), np.zeros(5, np.int32)
    right = jnp.zeros((5, 4, 4)).at[:, 1, 2].set(1.0)
    arguments = {"model": model, "variables": {}, "images": cells.image, "targets": targets, "chunk": 85}
    deletion, insertion = (
        METRICS[name].using(name, replacement=replacement).function for name in ("deletion", "insertion")
    )
    assert (deletion(patch_scores=right, **arguments) < deletion(patch_scores=-right, **arguments)).all()
    assert (insertion(patch_scores=right, **arguments) > insertion(patch_scores=-right, **arguments)).all()


def test_the_area_does_not_depend_on_the_chunk_and_a_map_of_nan_has_none(cells):
    model, targets = Foreign(), np.zeros(5, np.int32)
    variables = {"params": jax.jit(model.init)(jax.random.key(0), cells.image)["params"]}

    def area(scores, chunk):
        return METRICS["deletion"].function(
            model=model,
            variables=variables,
            images=cells.image,
            targets=targets,
            patch_scores=scores,
            chunk=chunk,
            kind="single_label",
        )

    run = jax.jit(area, static_argnums=1)
    one, other = run(SCORES, 1), run(SCORES, 35)
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert ((one > 0) & (one < 1)).all()
    undefined = run(SCORES.at[2].set(jnp.nan), 35)
    np.testing.assert_array_equal(np.isnan(undefined), [False, False, True, False, False])


def test_area_is_the_mean_height():
    assert area_under(np.linspace(1, 0, 5), jnp.ones((5, 1)))[0] == pytest.approx(1.0)
    assert area_under(np.linspace(0, 1, 5), jnp.linspace(0, 1, 5)[:, None])[0] == pytest.approx(0.5)


def test_schedule_keeps_its_ends_with_fewer_steps():
    np.testing.assert_array_equal(schedule(16, "deletion", 0, 4), [16, 12, 8, 4, 0])
    np.testing.assert_array_equal(schedule(3, "insertion", 1, None), [1, 2, 3])
    assert len(schedule(4, "insertion", 0, 100)) == 5


def test_fills():
    images = jax.random.uniform(jax.random.key(0), (2, 12, 16, 3))
    np.testing.assert_allclose(fill(images, "mean")[:, 0, 0], images.mean((1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(fill(images, 0.25), 0.25)
    np.testing.assert_allclose(blur(jnp.full((1, 16, 16, 3), 0.3)), 0.3, rtol=1e-5)
    assert blur(images).std() < 0.5 * images.std()
