"""Sigmoid attention: keys don't compete."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.models.attention.base import Given, ScoredAttention, allowed, scores


class SigmoidAttention(ScoredAttention):
    """sigmoid(q k / sqrt(c) - log n), n the number of keys (Ramapuram et al. 2024, eq. 3).

    A row sums to about one at the start and to anything later.
    """

    normalised = False

    def weights(self, given: Given) -> Float[Array, "batch heads tokens tokens"]:
        """Weights from 0 to 1, each by itself."""
        scoring = self.scoring(given)
        takes_part = allowed(scoring, given.mask)
        if takes_part is None:
            return jax.nn.sigmoid(scores(scoring) - jnp.log(given.key.shape[2]))
        keys = jnp.maximum(takes_part.sum(-1, keepdims=True), 1)
        return jnp.where(takes_part, jax.nn.sigmoid(scores(scoring) - jnp.log(keys)), 0.0)
