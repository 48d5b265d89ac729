"""Entmax-1.5 attention: half-way between softmax and sparsemax."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from spermjax.models.attention.base import ScoredAttention

NEWTON_STEPS = 8
"""Enough for float32 with thousands of keys."""


@jax.custom_jvp
def entmax15(scores: Float[Array, "*lead keys"]) -> Float[Array, "*lead keys"]:
    """Argmax over the simplex of p s + (4/3) sum(p - p^1.5) (Peters, Niculae & Martins 2019, eq. 7).

    p = relu(s / 2 - tau)^2, with tau exact (their algorithm 2) once it is known which
    weights are not zero; that Newton's method tells, a few passes where sorting is slow.
    Differentiable with the Jacobian of their proposition 2.
    """
    # Halves more than 1 below the largest have no weight; cutting them there keeps sums small.
    half = jnp.maximum((scores - scores.max(-1, keepdims=True)) / 2, -1.0)
    # The support alone is searched for, so that relevance, which goes by single operations, meets no loop.
    support = _support(jax.lax.stop_gradient(half))
    size = support.sum(-1, keepdims=True)
    mean = jnp.where(support, half, 0.0).sum(-1, keepdims=True) / size
    spread = jnp.where(support, jnp.square(half - mean), 0.0).sum(-1, keepdims=True)
    threshold = mean - jnp.sqrt(jnp.maximum((1.0 - spread) / size, 0.0))
    return jnp.square(jnp.maximum(half - threshold, 0.0))


def _support(half: Float[Array, "*lead keys"]) -> Bool[Array, "*lead keys"]:
    """Where halves lie above the root of |relu(half - tau)| = 1, convex in tau: from below it is never passed."""

    def newton(_: int, threshold: jax.Array) -> jax.Array:
        above = jnp.maximum(half - threshold, 0.0)
        norm = jnp.sqrt(jnp.square(above).sum(-1, keepdims=True))
        return threshold + (norm - 1.0) * norm / above.sum(-1, keepdims=True)

    return half > jax.lax.fori_loop(0, NEWTON_STEPS, newton, jnp.full_like(half[..., :1], -1.0))


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
