"""Class attention: patches first, and only then a class token that asks them (Touvron et al. 2021b)."""

from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from spermjax.models.attention.base import MASKED
from spermjax.models.attention.contract import tap_weights
from spermjax.models.attention.softmax import SoftmaxAttention
from spermjax.models.layers import Dense, softmax


class ClassAttention(SoftmaxAttention):
    """Softmax blocks without a class token, then layers that update it alone (Touvron et al. 2021b, CaiT, section 3).

    The class token's rows in the last layers are all that reaches the logits: no patch
    is changed any more by what the class token needs.

    Attributes:
        layers: of class attention, behind the blocks.
    """

    layers: int = 2

    readout = "class_attention"

    @classmethod
    def problems(cls, channels: int, options: Mapping[str, Any]) -> Iterable[str]:
        """At least one layer reads the patches."""
        if options.get("layers", 1) < 1:
            yield f"layers is {options['layers']}; it must be 1 or more"


class ClassLayer(nn.Module):
    """Attention whose only query is the class token (Touvron et al. 2021b, eqs. 5 to 8).

    Attributes:
        heads: number of heads; divides the width.
        dtype: type of the computation; the weights themselves are float32.
    """

    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "batch tokens width"], mask: Bool[Array, "batch tokens"] | None
    ) -> Float[Array, "batch 1 width"]:
        """What the class token, which comes first, takes from all tokens."""
        width = tokens.shape[-1]
        channels = width // self.heads

        def project(x: Float[Array, "batch some width"], name: str) -> Float[Array, "batch heads some channels"]:
            shape = (self.heads, channels)
            return jnp.moveaxis(Dense(shape, dtype=self.dtype, name=name)(x), 2, 1)

        query, key, value = project(tokens[:, :1], "query"), project(tokens, "key"), project(tokens, "value")
        weights = pooling_weights(jnp.einsum("bhqc,bhkc->bhqk", query * channels**-0.5, key), mask)
        weights = tap_weights(self, weights, tokens.shape[1])
        mixed = jnp.einsum("bhqk,bhkc->bhqc", weights.astype(self.dtype), value)
        return Dense(width, axes=2, dtype=self.dtype, name="out")(jnp.moveaxis(mixed, 1, 2))


def pooling_weights(
    scores: Float[Array, "batch heads queries keys"], mask: Bool[Array, "batch keys"] | None
) -> Float[Array, "batch heads queries keys"]:
    """Softmax over the keys that are not masked, in float32; zero where all are."""
    scores = scores.astype(jnp.float32)
    if mask is None:
        return softmax(scores)
    kept = mask[:, None, None, :]
    return jnp.where(kept, softmax(jnp.where(kept, scores, MASKED)), 0.0)
