"""Talking-heads attention: heads exchange scores before the softmax, and weights after it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.models.attention.base import Given, ScoredAttention, allowed, scores


def near_identity(key: jax.Array, shape: tuple[int, int], dtype=jnp.float32) -> Float[Array, "heads heads"]:
    """The identity with a little noise: attention starts out as that of separate heads."""
    return jnp.eye(shape[0], dtype=dtype) + nn.initializers.truncated_normal(0.02)(key, shape, dtype)


class TalkingHeadsAttention(ScoredAttention):
    """Linear maps over heads before and after the softmax (Shazeer et al. 2020, section 3).

    A = P_w softmax(P_l S), with both maps near the identity at the start, not random
    as published. What is captured is A, the weights that meet the values: P_w is free,
    so its rows need not sum to one and may be negative.
    """

    normalised = False

    def weights(self, given: Given) -> Float[Array, "batch heads tokens tokens"]:
        """Weights after both exchanges."""
        scoring = self.scoring(given)
        before, after = (self.param(name, near_identity, (self.heads, self.heads)) for name in ("before", "after"))
        mixed = jnp.einsum("gh,bhqk->bgqk", before, scores(scoring))
        return jnp.einsum("gh,bhqk->bgqk", after, self.over_allowed(mixed, allowed(scoring, given.mask)))
