"""Sparsemax attention: most weights are exactly zero."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from spermjax.models.attention.base import ScoredAttention


@jax.custom_jvp
def sparsemax(scores: Float[Array, "*lead keys"]) -> Float[Array, "*lead keys"]:
    """The point of the probability simplex nearest to the scores (Martins & Astudillo 2016, algorithm 1).

    Exact, by dropping what lies below the threshold until nothing does (Michelot 1986),
    a few passes where sorting is slow; differentiable with the Jacobian of their eq. 9.
    """
    # Scores more than 1 below the largest have no weight; cutting them there keeps sums small.
    shifted = jnp.maximum(scores - scores.max(-1, keepdims=True), -1.0)
    # The support alone is searched for, so that relevance, which goes by single operations, meets no loop.
    support = _support(jax.lax.stop_gradient(shifted))
    return jnp.maximum(shifted - _threshold(shifted, support), 0.0)


def _threshold(shifted: Float[Array, "*lead keys"], support: Bool[Array, "*lead keys"]) -> Float[Array, "*lead 1"]:
    """What is taken off each score of the support so that the rest sums to one."""
    return (jnp.where(support, shifted, 0.0).sum(-1, keepdims=True) - 1.0) / support.sum(-1, keepdims=True)


def _support(shifted: Float[Array, "*lead keys"]) -> Bool[Array, "*lead keys"]:
    def shrink(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        support, _ = state
        smaller = support & (shifted > _threshold(shifted, support))
        return smaller, (smaller != support).any()

    start = (jnp.ones(shifted.shape, bool), jnp.array(True))
    return jax.lax.while_loop(lambda state: state[1], shrink, start)[0]


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
