"""What is captured, in which order, and how class rows are read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.errors import ConfigError
from spermjax.interpret.capture import by_layer, capture, capture_with_gradients
from spermjax.interpret.grid import class_row, coverage, patch_mean, reader, upsample
from spermjax.interpret.model import FunctionModel, attention_spec
from spermjax.models.attention.contract import AttentionSpec


def test_capture_changes_no_logit_and_rows_sum_to_one(foreign, cells):
    model, variables = foreign
    captured, logits = jax.jit(lambda v, x: (capture(model, v, x), model.apply(v, x)))(variables, cells.image)
    np.testing.assert_allclose(captured.logits, logits, atol=1e-6)
    np.testing.assert_allclose(captured.attention.sum(-1), 1.0, atol=1e-5)
    assert captured.attention.shape[0] == model.depth == captured.features("norm1").shape[0]


def test_gradient_is_the_slope_along_a_perturbation(foreign, cells):
    """Witness: a finite difference of the logit along a random change of the first layer's attention."""
    model, variables = foreign
    images, targets = cells.image[:1], np.array([1])
    _, gradients = jax.jit(lambda v, x, t: capture_with_gradients(model, v, x, t))(variables, images, targets)
    change = jax.random.normal(jax.random.key(1), gradients.attention.shape[1:])

    @jax.jit
    def logit(size):
        perturbed = {"layer0": {"weights": size * change}}
        return model.apply({**variables, "perturbations": perturbed}, images)[0, 1]

    slope = (logit(1e-2) - logit(-1e-2)) / 2e-2
    np.testing.assert_allclose((gradients.attention[0] * change).sum(), slope, rtol=2e-2, atol=1e-4)


def test_layers_come_in_numeric_order_and_scanned_layers_are_spread():
    tree = {f"block_{i}": {"attention": {"weights": jnp.full((1, 1, 2, 2), i)}} for i in (10, 2, 0)}
    np.testing.assert_array_equal(by_layer(tree, "weights", 4)[:, 0, 0, 0, 0], [0, 2, 10])
    scanned = {"blocks": {"weights": jnp.arange(3.0)[:, None, None, None, None] * jnp.ones((3, 1, 1, 2, 2))}}
    np.testing.assert_array_equal(by_layer(scanned, "weights", 4)[:, 0, 0, 0, 0], [0, 1, 2])


def test_what_is_missing_is_named():
    with pytest.raises(ConfigError, match="captured no 'weights'; it captured a/other"):
        by_layer({"a": {"other": jnp.ones((1, 1, 2, 2))}}, "weights", 4)
    with pytest.raises(ConfigError, match="differ in the shape"):
        by_layer({"a": {"w": jnp.ones((1, 1, 2, 2))}, "b": {"w": jnp.ones((1, 1, 3, 3))}}, "w", 4)
    with pytest.raises(ConfigError, match="FunctionModel has no attention_spec"):
        attention_spec(FunctionModel(lambda x: x), jnp.zeros((1, 8, 8, 3)))


@pytest.mark.parametrize(("prefix", "reads"), [(1, "class_token"), (3, "class_token"), (2, "mean"), (0, "mean")])
def test_class_row_is_the_readers_row(prefix, reads):
    spec = AttentionSpec(prefix, (2, 3), reads=reads)
    maps = jax.random.uniform(jax.random.key(0), (4, prefix + 6, prefix + 6))
    expected = jnp.einsum("q,bqk->bk", reader(spec, prefix + 6), maps)[:, prefix:]
    np.testing.assert_allclose(class_row(maps, spec), expected, rtol=1e-5)


def test_patches_and_pixels():
    """Upsampling keeps a constant and the mean of each patch's two central pixels; coverage is the share of pixels."""
    np.testing.assert_allclose(upsample(jnp.full((1, 2, 2), 3.0), (8, 8)), 3.0)
    ramp = jnp.broadcast_to(jnp.arange(4.0), (1, 4, 4))
    np.testing.assert_allclose(upsample(ramp, (4, 32))[0, 0, 11:13].mean(), 1.0, atol=1e-6)
    mask = np.zeros((1, 4, 8, 1), bool)
    mask[0, :2, :3] = True
    np.testing.assert_allclose(coverage(mask, (2, 2))[0, :, :, 0], [[6 / 8, 0], [0, 0]])
    np.testing.assert_allclose(patch_mean(jnp.arange(16.0).reshape(1, 4, 4), (2, 2))[0], [[2.5, 4.5], [10.5, 12.5]])
