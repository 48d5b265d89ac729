"""Softmax attention (Vaswani et al. 2017)."""

import jax
from jaxtyping import Array, Float

from spermjax.models.attention.base import Given, ScoredAttention, allowed
from spermjax.models.attention.contract import ATTENTION, asked_for


class SoftmaxAttention(ScoredAttention):
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1)."""

    def mix(
        self, given: Given, value: Float[Array, "batch tokens heads channels"]
    ) -> Float[Array, "batch tokens heads channels"]:
        """The weighted sums of values, fused where that is wanted and nobody looks at the weights."""
        if not self.fused or asked_for(self, ATTENTION, "weights"):
            return super().mix(given, value)
        scoring = self.scoring(given).of_first(self.read)
        bias = None if scoring.bias is None else scoring.bias[None].astype(value.dtype)
        return jax.nn.dot_product_attention(
            scoring.query, scoring.key, value, bias, allowed(scoring, given.mask), scale=1.0
        )
