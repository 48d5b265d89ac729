"""Layers that are computed otherwise than JAX would: equal values and gradients. Witness: Flax and JAX themselves."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.models.cnn.depthwise import depthwise
from spermjax.models.layers import Dense, gelu

RNG = np.random.default_rng(0)


def values_and_gradients(function, *arguments):
    """Of a function, and of a weighted sum of what it gives."""
    values, transpose = jax.vjp(function, *arguments)
    weights = np.random.default_rng(1).normal(size=values.shape).astype(np.float32)
    return values, transpose(jnp.asarray(weights))


def assert_equal(actual, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max()), actual, expected
    )


@pytest.mark.parametrize(("features", "axes"), [((3, 2, 4), 1), (5, 2), (40, 1)])
def test_a_linear_map(features, axes):
    x = RNG.normal(size=(2, 7, 4, 6)).astype(np.float32)
    ours, theirs = Dense(features, axes=axes), nn.DenseGeneral(features, axis=tuple(range(-axes, 0)))
    variables = theirs.init(jax.random.key(0), x)
    variables["params"]["bias"] += 0.3
    assert jax.tree.map(jnp.shape, ours.init(jax.random.key(0), x)) == jax.tree.map(jnp.shape, variables)
    assert_equal(*(values_and_gradients(layer.apply, variables, x) for layer in (ours, theirs)))


def test_gelu():
    x = np.linspace(-9, 9, 1001, dtype=np.float32)
    exact = lambda x: jax.nn.gelu(x, approximate=False)  # noqa: E731
    assert_equal(*(values_and_gradients(function, x) for function in (gelu, exact)))


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (5, 2), (5, 1)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((2, 1), (0, 3))])
def test_a_depthwise_convolution(size, stride, padding):
    images = RNG.normal(size=(2, 9, 8, 4)).astype(np.float32)
    kernel = RNG.normal(size=(size, size, 1, 4)).astype(np.float32)
    options = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": 4}

    def by(convolution):
        return lambda x, k: convolution(x, k, (stride, stride), padding, **options)

    of = [
        values_and_gradients(by(convolution), images, kernel)
        for convolution in (depthwise, jax.lax.conv_general_dilated)
    ]
    assert_equal(*of)
