"""Layer normalisation whose gradient keeps its input, and nothing else of that size."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.models.layers import column_sums


class LayerNorm(nn.Module):
    """`flax.linen.LayerNorm` over the last axis through `layer_norm`.

    Attributes:
        epsilon: what is added to the variance.
        dtype: type of the result; what leads to it has single precision or better.
    """

    epsilon: float = 1e-6
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*lead channels"]) -> Float[Array, "*lead channels"]:
        channels = x.shape[-1:]
        gain = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        kind = jnp.promote_types(x.dtype, jnp.float32)
        return layer_norm(x.astype(kind), gain.astype(kind), bias.astype(kind), self.epsilon).astype(self.dtype)


def layer_norm(
    x: Float[Array, "*lead channels"], gain: Float[Array, "channels"], bias: Float[Array, "channels"], epsilon: float
) -> Float[Array, "*lead channels"]:
    """`x` with mean zero and variance one over its channels, times a gain, plus a bias (Ba et al. 2016, eq. 4).

    What JAX derives by itself is equal, but keeps the statistics once more for each channel, and
    XLA on a CPU writes them out and reads them again: forward and backward take twice the time.
    """
    return _layer_norm(epsilon, x, gain, bias)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _layer_norm(epsilon: float, x: Array, gain: Array, bias: Array) -> Array:
    return _forward(epsilon, x, gain, bias)[0]


def _forward(epsilon: float, x: Array, gain: Array, bias: Array) -> tuple[Array, tuple[Array, ...]]:
    mean = x.mean(-1, keepdims=True)
    slope = jax.lax.rsqrt(jnp.square(x - mean).mean(-1, keepdims=True) + epsilon)
    return (x - mean) * slope * gain + bias, (x, mean, slope, gain)


def _backward(epsilon: float, kept: tuple[Array, ...], message: Array) -> tuple[Array, Array, Array]:
    del epsilon
    # The barrier keeps XLA from keeping for here what it can compute again.
    x, mean, slope, gain = jax.lax.optimization_barrier(kept)
    standard = (x - mean) * slope
    product = message * standard
    level, along = ((part @ gain / x.shape[-1])[..., None] for part in (message, product))
    return (message * gain - level - standard * along) * slope, column_sums(product), column_sums(message)


_layer_norm.defvjp(_forward, _backward)
