"""A narrowed function gives what the function gives, for less work where it reads a part."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.interpret.narrow import narrowed

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 8)), jnp.float32)
W = jnp.asarray(np.random.default_rng(1).normal(size=(8, 8)), jnp.float32)


def attend(x):
    """Heads are split off and merged again, and keys attended to."""
    heads = (x @ W).reshape(2, 6, 4, 2)
    weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", heads, heads))
    return jnp.einsum("bhqk,bkhd->bqhd", weights, heads).reshape(2, 6, 8)


def tall(x):
    """Tokens and channels are merged, so that no token is known from another."""
    return jnp.tanh(x).reshape(2, 48).reshape(2, 6, 8)


FUNCTIONS = {
    "row": lambda x: jnp.exp(x @ W)[:, 0],
    "two rows of one value": lambda x: (x @ W)[:, 1] + (2 * (x @ W))[:, 4],
    "attention": lambda x: attend(x)[:, 0],
    "norm": lambda x: ((x - x.mean(2, keepdims=True)) / x.std(2, keepdims=True))[:, 2:4],
    "transposed": lambda x: (jnp.swapaxes(x, 1, 2) * 2)[..., 3].max(axis=0),
    "merged": lambda x: tall(x)[:, 3],
    "no rule": lambda x: jnp.cumsum(jnp.sort(x, axis=1), axis=1)[:, 2],
    "several results": lambda x: jnp.split(x * 2, 2, axis=2)[1][:, 0],
    "two outputs": lambda x: {"all": x + 1, "some": (x * x)[:, :1]},
    "stepped": lambda x: (x * 3)[:, ::2][:, 1],
    "argument": lambda x: (x, x[0]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_and_gradients_are_the_functions_own(name):
    """Witness: JAX, which computes all of each value."""
    function = FUNCTIONS[name]
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, narrowed(function)(X), function(X))

    def total(of):
        return lambda x: sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(of(x)))

    close(jax.grad(total(narrowed(function)))(X), jax.grad(total(function))(X))


def test_a_row_is_computed_alone():
    """Witness: XLA's count of operations."""

    def flops(function):
        return jax.jit(function).lower(X).compile().cost_analysis()["flops"]

    def mlp(x):
        return jax.nn.gelu(jax.nn.gelu(x @ W) @ W)

    one_of_six = flops(narrowed(lambda x: mlp(x)[:, 0])) / flops(narrowed(lambda x: mlp(x)))
    assert one_of_six < 0.2
