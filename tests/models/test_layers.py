"""Layers that are computed otherwise than JAX would: equal values and gradients. Witness: Flax and JAX themselves."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from spermjax.models.cnn.depthwise import depthwise
from spermjax.models.layers import Dense, gelu, softmax
from spermjax.models.norm import LayerNorm, layer_norm

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
    with jax.enable_x64(True):
        check_grads(gelu, (jnp.linspace(-9.0, 9.0, 41),), order=2, modes=["rev"])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_layer_norm(dtype):
    x = (3 + 2 * RNG.normal(size=(2, 7, 12))).astype(np.float32)
    x[0, 0] = 5.0  # No variance.
    ours, theirs = LayerNorm(dtype=dtype), nn.LayerNorm(dtype=dtype)
    variables = jax.tree.map(lambda leaf: leaf + RNG.normal(size=leaf.shape), theirs.init(jax.random.key(0), x))
    assert jax.tree.map(jnp.shape, ours.init(jax.random.key(0), x)) == jax.tree.map(jnp.shape, variables)

    def by(layer):
        return lambda variables, x: layer.apply(variables, x).astype(jnp.float32)

    assert_equal(*(values_and_gradients(by(layer), variables, x) for layer in (ours, theirs)))


def test_gradients_of_layer_norm():
    """Witness: finite differences."""
    with jax.enable_x64(True):
        arguments = tuple(map(jnp.asarray, (RNG.normal(size=(2, 3, 5)), RNG.normal(size=5), RNG.normal(size=5))))
        check_grads(lambda *given: layer_norm(*given, 1e-6), arguments, order=2, modes=["rev"])


def test_softmax():
    scores = (9 * RNG.normal(size=(3, 2, 5, 7))).astype(np.float32)
    scores[0, 0, 0, 1:] = -1e30  # As where all keys but one are masked.
    assert_equal(*(values_and_gradients(function, scores) for function in (softmax, jax.nn.softmax)))
    with jax.enable_x64(True):
        check_grads(softmax, (jnp.asarray(scores[1:], jnp.float64),), order=2)


@pytest.mark.parametrize("keys", [1, 2, 16, 17, 33, 64, 65, 197])
def test_softmax_of_one_image(keys):
    """Whose maximum is found in halves, of odd numbers of keys too, wherever it lies. Witness: `jax.nn.softmax`."""
    scores = RNG.normal(size=(1, 2, keys, keys)).astype(np.float32)
    scores[0, 0] += 200 * np.eye(keys, dtype=np.float32)
    scores[0, 1, 0, 1:] = -1e30
    assert_equal(*(values_and_gradients(function, scores) for function in (softmax, jax.nn.softmax)))
    scores[0, 0, 0, keys // 2] = np.nan
    lost = np.isnan(softmax(scores)).all(axis=-1)
    assert lost[0, 0, 0] and lost.sum() == 1


def test_many_gradients_of_the_same_layer_norm_at_once():
    """Witness: one at a time, in double precision. As below, XLA's sums could go wrong."""
    arguments = RNG.normal(size=(8, 65, 128)), RNG.normal(size=128), RNG.normal(size=128)
    messages = RNG.normal(size=(3, 8, 65, 128))

    def gradients(kind, of):
        _, transpose = jax.vjp(
            lambda *given: layer_norm(*given, 1e-6), *(jnp.asarray(each, kind) for each in arguments)
        )
        return jax.jit(lambda given: of(transpose, given))(jnp.asarray(messages, kind))

    found = gradients(jnp.float32, lambda transpose, given: jax.vmap(transpose)(given))
    with jax.enable_x64(True):
        expected = gradients(jnp.float64, lambda transpose, given: jax.lax.map(transpose, given))
    assert_equal(found, expected)


def test_many_gradients_of_the_same_softmax_at_once():
    """Witness: NumPy. Here XLA's sums by YNNPACK go wrong."""
    scores, messages = RNG.normal(size=(8, 4, 65, 65)), RNG.normal(size=(2, 8, 4, 65, 65))
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    _, transpose = jax.vjp(softmax, jnp.asarray(scores, jnp.float32))
    (found,) = jax.jit(jax.vmap(transpose))(jnp.asarray(messages, jnp.float32))
    expected = weights * (messages - (weights * messages).sum(-1, keepdims=True))
    np.testing.assert_allclose(found, expected, atol=1e-6)


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
