"""What models show of themselves, and models that don't."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.errors import ConfigError
from spermjax.interpret.methods import METHODS
from spermjax.interpret.suite import applicable
from spermjax.models.attention.contract import CONTRIBUTIONS
from spermjax.models.cnn.simple import SimpleCnn
from spermjax.models.vit import ViT
from spermjax.parts import PARTS
from tests.interpret.support import Foreign

IMAGES = np.random.default_rng(0).uniform(size=(3, 16, 16, 3)).astype(np.float32)
TARGETS = np.array([0, 2, 1], np.int32)


@functools.cache
def part_queries():
    model = ViT(num_outputs=3, patch_size=4, width=16, depth=2, heads=2, attention="part_query", registers=1)
    params = jax.jit(model.init)(jax.random.key(1), IMAGES)["params"]
    return model, {"params": jax.tree.map(lambda leaf: 4 * leaf + 0.1, params)}


def test_a_query_spends_all_its_attention_on_patches():
    maps = METHODS["part_query_attention"].native(*part_queries(), IMAGES, TARGETS)
    np.testing.assert_allclose(maps.sum((1, 2)), 1.0, atol=1e-5)


def test_patches_bring_all_of_the_logit():
    """Witness: the model's own logits, bias, and contributions by part."""
    model, variables = part_queries()
    logits, captured = model.apply(variables, IMAGES, mutable=[CONTRIBUTIONS])
    without_bias = (logits - variables["params"]["part_query"]["bias"])[np.arange(3), TARGETS]
    method = METHODS["part_query"]
    brought = jax.jit(lambda v, x, t: method.native(model, v, x, t))(variables, IMAGES, TARGETS)
    np.testing.assert_allclose(brought.sum((1, 2)), without_bias, rtol=1e-4)
    of_parts = captured[CONTRIBUTIONS]["part_query"]["parts"][np.arange(3), :, TARGETS]
    of_tail = method.native(model, variables, IMAGES, TARGETS, part="tail").sum((1, 2))
    np.testing.assert_allclose(of_tail, of_parts[:, PARTS.index("tail")], rtol=1e-4)


def test_maps_of_cbam_follow_its_own_weights():
    """A kernel that shouts opens every place, and the mean over modules is one of maps at the image's size."""
    model = SimpleCnn(num_outputs=3, channels=(4, 8), cbam="blocks")
    variables = model.init(jax.random.key(0), IMAGES)
    last = METHODS["cbam_spatial"].native(model, variables, IMAGES, TARGETS)
    first = METHODS["cbam_spatial"].native(model, variables, IMAGES, TARGETS, layer=0)
    mean = METHODS["cbam_spatial"].native(model, variables, IMAGES, TARGETS, layer=None)
    assert (last.shape, first.shape, mean.shape) == ((3, 8, 8), (3, 16, 16), (3, 16, 16))
    enlarged = jax.image.resize(last, (3, 16, 16), "bilinear")
    np.testing.assert_allclose(mean, (first + enlarged) / 2, atol=1e-6)
    kernel = variables["params"]["cbam_0"]["spatial_conv"]["kernel"]
    louder = jax.tree.map(lambda leaf: leaf, variables)
    louder["params"]["cbam_0"]["spatial_conv"]["kernel"] = jnp.full_like(kernel, 10.0)
    np.testing.assert_allclose(METHODS["cbam_spatial"].native(model, louder, IMAGES, TARGETS, layer=0), 1.0, atol=1e-3)


@pytest.mark.parametrize("name", ["part_query_attention", "part_query"])
def test_a_model_without_part_queries_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=f"{name} .*Foreign.*--model.attention part_query"):
        METHODS[name].native(Foreign(), {}, IMAGES, TARGETS)


def test_a_model_without_cbam_is_refused_by_name():
    model = SimpleCnn(num_outputs=3, channels=(4,))
    with pytest.raises(ConfigError, match=r"cbam_spatial .*SimpleCnn.*--model\.cbam"):
        METHODS["cbam_spatial"].native(model, {}, IMAGES, TARGETS)


def test_an_unknown_part_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"'acrosom'.*acrosome"):
        METHODS["part_query"].native(*part_queries(), IMAGES, TARGETS, part="acrosom")


def test_each_method_applies_to_the_models_that_have_what_it_shows():
    def offered(model):
        return {method.name for method in applicable(model, tuple(METHODS))[0]}

    own = {"part_query", "part_query_attention", "cbam_spatial"}
    assert offered(part_queries()[0]) & own == {"part_query", "part_query_attention"}
    assert offered(SimpleCnn(num_outputs=3, cbam="last")) & own == {"cbam_spatial"}
    assert not offered(Foreign()) & own
