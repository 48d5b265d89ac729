"""Entmax-1.5 attention: half-way between softmax and sparsemax."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.models.attention.base import ScoredAttention

NEWTON_STEPS = 8
"""Enough for float32 with thousands of keys."""


@jax.custom_jvp
def entmax15(scores: Float[Array, "*lead keys"]) -> Float[Array, "*lead keys"]:
    """Argmax over the simplex of p s + (4/3) sum(p - p^1.5) (Peters, Niculae & Martins 2019, eq. 7).

    p = relu(s / 2 - tau)^2, with tau by Newton's method on the root of sum p, which is
    convex in tau: from below it never passes the solution. Differentiable with the
    Jacobian of their proposition 2.
    """
    # Halves more than 1 below the largest have no weight; cutting them there keeps sums small.
    half = jnp.maximum((scores - scores.max(-1, keepdims=True)) / 2, -1.0)

    def newton(_: int, threshold: jax.Array) -> jax.Array:
        above = jnp.maximum(half - threshold, 0.0)
        norm = jnp.sqrt(jnp.square(above).sum(-1, keepdims=True))
        return threshold + (norm - 1.0) * norm / above.sum(-1, keepdims=True)

    threshold = jax.lax.fori_loop(0, NEWTON_STEPS, newton, jnp.full_like(half[..., :1], -1.0))
    return jnp.square(jnp.maximum(half - threshold, 0.0))


@entmax15.defjvp
def _entmax15_jvp(primals, tangents):
    weights = entmax15(*primals)
    slope = jnp.sqrt(weights)
    mean = (slope * tangents[0]).sum(-1, keepdims=True) / slope.sum(-1, keepdims=True)
    return weights, slope * (tangents[0] - mean)


class Entmax15Attention(ScoredAttention):
    """Entmax with alpha 1.5 instead of a softmax (Peters, Niculae & Martins 2019; Correia et al. 2019)."""

    def normalise(self, scores: Float[Array, "*lead keys"]) -> Float[Array, "*lead keys"]:
        """Entmax-1.5."""
        return entmax15(scores)
