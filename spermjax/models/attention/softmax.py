"""Scaled dot-product attention (Vaswani et al. 2017, eq. 1)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from spermjax.models.attention.contract import ATTENTION, tap
from spermjax.models.layers import dense_init


def softmax_weights(
    query: Float[Array, "batch queries heads channels"],
    key: Float[Array, "batch keys heads channels"],
    mask: Bool[Array, "batch keys"] | None = None,
) -> Float[Array, "batch heads queries keys"]:
    """softmax(q k^T / sqrt(channels)), in float32 whatever the inputs are.

    Args:
        query: what each token asks for.
        key: what each token offers.
        mask: False where a key takes no part; at least one must be left.

    Returns:
        Weights that are non-negative and sum to one over the keys.
    """
    scores = jnp.einsum("bqhc,bkhc->bhqk", query * query.shape[-1] ** -0.5, key, preferred_element_type=jnp.float32)
    if mask is not None:
        scores = jnp.where(mask[:, None, None, :], scores, -jnp.inf)
    return jax.nn.softmax(scores, axis=-1)


class SoftmaxAttention(nn.Module):
    """Multi-head self-attention.

    Attributes:
        heads: number of heads; divides the width.
        dtype: type of the computation; the weights themselves are float32.
    """

    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "batch tokens width"], mask: Bool[Array, "batch tokens"] | None = None
    ) -> Float[Array, "batch tokens width"]:
        width = tokens.shape[-1]
        channels = width // self.heads
        qkv = nn.DenseGeneral((3, self.heads, channels), dtype=self.dtype, kernel_init=dense_init, name="qkv")(tokens)
        query, key, value = jnp.moveaxis(qkv, -3, 0)
        weights = tap(self, ATTENTION, "weights", softmax_weights(query, key, mask))
        mixed = jnp.einsum("bhqk,bkhc->bqhc", weights.astype(self.dtype), value)
        return nn.DenseGeneral(width, axis=(-2, -1), dtype=self.dtype, kernel_init=dense_init, name="out")(mixed)
