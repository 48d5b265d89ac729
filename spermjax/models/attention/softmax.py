"""Softmax attention (Vaswani et al. 2017)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.models.attention.base import Given, ScoredAttention, allowed
from spermjax.models.attention.contract import ATTENTION, asked_for


class SoftmaxAttention(ScoredAttention):
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1)."""

    def mix(
        self, given: Given, value: Float[Array, "batch heads tokens channels"]
    ) -> Float[Array, "batch heads tokens channels"]:
        """The weighted sums of values, fused where that is wanted and nobody looks at the weights."""
        if not self.fused or asked_for(self, ATTENTION, "weights"):
            return super().mix(given, value)
        scoring = self.scoring(given).of_first(self.read)
        bias = None if scoring.bias is None else scoring.bias[None].astype(value.dtype)
        query, key, value = (jnp.moveaxis(x, 1, 2) for x in (scoring.query, scoring.key, value))
        mixed = jax.nn.dot_product_attention(query, key, value, bias, allowed(scoring, given.mask), scale=1.0)
        return jnp.moveaxis(mixed, 1, 2)
