"""Gated attention: each head of each token may close."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.models.attention.base import Given, ScoredAttention
from spermjax.models.layers import Dense


class GatedAttention(ScoredAttention):
    """A sigmoid gate on what each head gives each token (Qiu et al. 2025, eq. 5, headwise).

    The gate is read from the token and multiplies its row of weights, and the product
    is what is captured: a row sums to its gate, so a head that took no part shows none.
    """

    normalised = False

    def weights(self, given: Given) -> Float[Array, "batch heads queries tokens"]:
        """Softmax weights times the gate of their query."""
        weights = super().weights(given)
        gate = Dense(self.heads, dtype=self.dtype, name="gate")(given.tokens)
        gate = nn.sigmoid(gate.astype(jnp.float32))
        return weights * gate[:, : weights.shape[2]].swapaxes(1, 2)[..., None]
