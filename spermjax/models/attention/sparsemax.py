"""Sparsemax attention: most weights are exactly zero."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.models.attention.base import ScoredAttention


@jax.custom_jvp
def sparsemax(scores: Float[Array, "*lead keys"]) -> Float[Array, "*lead keys"]:
    """The point of the probability simplex nearest to the scores (Martins & Astudillo 2016, algorithm 1).

    Exact, by dropping what lies below the threshold until nothing does (Michelot 1986),
    a few passes where sorting is slow; differentiable with the Jacobian of their eq. 9.
    """
    # Scores more than 1 below the largest have no weight; cutting them there keeps sums small.
    shifted = jnp.maximum(scores - scores.max(-1, keepdims=True), -1.0)

    def shrink(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        threshold, size, _ = state
        kept = shifted > threshold
        smaller = kept.sum(-1, keepdims=True)
        threshold = (jnp.where(kept, shifted, 0.0).sum(-1, keepdims=True) - 1.0) / smaller
        return threshold, smaller, (smaller < size).any()

    lowest = jnp.full_like(shifted[..., :1], -jnp.inf)
    start = (lowest, jnp.full(lowest.shape, scores.shape[-1] + 1), jnp.array(True))
    threshold, _, _ = jax.lax.while_loop(lambda state: state[2], shrink, start)
    return jnp.maximum(shifted - threshold, 0.0)


@sparsemax.defjvp
def _sparsemax_jvp(primals, tangents):
    weights = sparsemax(*primals)
    support = (weights > 0).astype(weights.dtype)
    mean = (support * tangents[0]).sum(-1, keepdims=True) / support.sum(-1, keepdims=True)
    return weights, support * (tangents[0] - mean)


class SparsemaxAttention(ScoredAttention):
    """Projection of the scores onto the simplex instead of a softmax (Martins & Astudillo 2016)."""

    def normalise(self, scores: Float[Array, "*lead keys"]) -> Float[Array, "*lead keys"]:
        """Sparsemax."""
        return sparsemax(scores)
