"""Sanity checks tell a map of the model from a map of the image; similarities agree with scikit-image and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import skimage.feature
import skimage.metrics

from spermjax.errors import ConfigError
from spermjax.interpret import FunctionModel, evaluate
from spermjax.interpret.metrics import METRICS, sanity, similarity
from tests.interpret.support import Foreign


@pytest.fixture(scope="module")
def checked(cells):
    """By rank correlation alone, which keeps the program small."""
    model = Foreign(prefix=1)
    variables = {"params": jax.jit(model.init)(jax.random.key(0), cells.image)["params"]}
    methods = ("edge_magnitude", "raw_attention", "chefer2021b")
    metrics = [METRICS[name].using(name, similarities=("spearman",)) for name in ("randomisation", "random_logit")]
    return evaluate(model, variables, cells, np.zeros(5, np.int32), methods=methods, metrics=metrics).values


def test_a_map_of_the_image_alone_does_not_change(checked):
    for metric in ("randomisation", "random_logit"):
        np.testing.assert_allclose(checked[f"edge_magnitude/{metric}/spearman"], 1.0, atol=1e-3)


def test_attention_is_blind_to_the_output_and_to_the_logit_and_gradients_are_not(checked):
    np.testing.assert_allclose(checked["raw_attention/randomisation/output"], 1.0, atol=1e-5)
    np.testing.assert_allclose(checked["raw_attention/random_logit/spearman"], 1.0, atol=1e-5)
    assert np.nanmean(checked["raw_attention/randomisation/spearman"]) < 0.95
    assert np.nanmean(checked["chefer2021b/randomisation/output"]) < 0.95
    assert np.nanmean(checked["chefer2021b/random_logit/spearman"]) < 0.95


def test_stages_go_from_the_output_down_and_leave_no_parameter_out(foreign, cells):
    model, variables = foreign
    stages = sanity.stages(model, variables, cells.image)
    assert [names[0] for names in stages] == ["Dense_1", "LayerNorm_0", "layer1", "layer0", "Dense_0"]
    assert {name for names in stages for name in names} == set(variables["params"])
    with pytest.raises(ConfigError, match="shows no modules"):
        sanity.stages(FunctionModel(lambda images: images.mean((1, 2))), {}, cells.image)


def test_cascade_ends_in_the_replacement_and_independent_stages_keep_the_rest(foreign, cells):
    """The map here is a number of each parameter group, so it tells which were exchanged."""
    model, variables = foreign
    stages = sanity.stages(model, variables, cells.image)
    replacement = jax.tree.map(jnp.ones_like, variables["params"])
    zeros = {"params": jax.tree.map(jnp.zeros_like, variables["params"])}

    def exchanged(values, images, targets, parts):
        del images, targets, parts
        return jnp.stack([jax.tree.leaves(values["params"][names[0]])[0].mean() for names in stages])[None, None]

    for mode, expected in (("cascading", np.tri(len(stages))), ("independent", np.eye(len(stages)))):
        maps = sanity.randomised_maps(
            exchanged, zeros, cells.image, None, None, stages, mode=mode, replacement=replacement
        )
        np.testing.assert_array_equal(maps[:, 0, 0], expected)


def test_shuffled_parameters_keep_their_values_and_lose_their_places(foreign):
    params = foreign[1]["params"]
    for old, new in zip(jax.tree.leaves(params), jax.tree.leaves(sanity.shuffled(params)), strict=True):
        np.testing.assert_array_equal(np.sort(old, axis=None), np.sort(new, axis=None))
    assert not np.allclose(params["positions"], sanity.shuffled(params)["positions"])


@pytest.fixture(scope="module")
def maps():
    rng = np.random.default_rng(0)
    first = rng.uniform(size=(3, 32, 24))
    return first, 0.5 * first + rng.uniform(size=first.shape) * [[[0.2]], [[1.0]], [[3.0]]]


def _scaled(map):
    return (map - map.min()) / (map.max() - map.min())


def test_spearman_is_scipys(maps):
    ties = [np.round(map, 1) for map in maps]
    expected = [scipy.stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(*ties, strict=True)]
    np.testing.assert_allclose(jax.jit(similarity.spearman)(*(jnp.asarray(m) for m in ties)), expected, atol=1e-5)


def test_structural_similarity_is_scikit_images(maps):
    expected = [
        skimage.metrics.structural_similarity(_scaled(a), _scaled(b), data_range=1.0)
        for a, b in zip(*maps, strict=True)
    ]
    np.testing.assert_allclose(jax.jit(similarity.ssim)(*(jnp.asarray(m) for m in maps)), expected, atol=1e-5)


def test_oriented_gradients_are_scikit_images(maps):
    features = [[skimage.feature.hog(_scaled(m), pixels_per_cell=(8, 8)) for m in of] for of in maps]
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(*features, strict=True)]
    np.testing.assert_allclose(jax.jit(similarity.hog_similarity)(*(jnp.asarray(m) for m in maps)), expected, atol=1e-3)


@pytest.mark.parametrize("name", similarity.SIMILARITIES)
def test_a_constant_map_and_one_of_nan_are_like_nothing(name, maps):
    map = jnp.asarray(maps[0][:1])
    compare = jax.jit(similarity.SIMILARITIES[name])
    assert np.isnan(compare(map, jnp.full_like(map, 0.3))).all()
    assert np.isnan(compare(map, map.at[0, 3, 3].set(jnp.nan))).all()
    np.testing.assert_allclose(compare(map, 3 * map + 1), 1.0, atol=1e-4)
