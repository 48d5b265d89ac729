"""How logits are read from tokens, where it takes layers of its own."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from spermjax.models.attention.class_attention import ClassLayer, pooling_weights
from spermjax.models.attention.contract import FEATURES, tap, tap_weights
from spermjax.models.layers import Dense, LayerScale, Mlp
from spermjax.models.norm import LayerNorm
from spermjax.parts import PARTS

READERS = {"class_attention": 1, "part_query": len(PARTS), "sequence": 1}
"""Tokens that join behind the blocks, by how the logits are read."""


class ClassBlock(nn.Module):
    """Class attention, then an MLP, each on a residual branch of the class token (Touvron et al. 2021b, figure 2).

    Attributes:
        heads: attention heads.
        mlp_dim: hidden channels of the MLP.
        layer_scale: initial LayerScale, or None.
        dtype: type of the computation.
    """

    heads: int
    mlp_dim: int
    layer_scale: float | None = None
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "batch tokens width"], mask: Bool[Array, "batch tokens"] | None
    ) -> Float[Array, "batch tokens width"]:
        """The tokens with the first one updated."""

        def scaled(branch: Float[Array, "batch 1 width"], name: str) -> Float[Array, "batch 1 width"]:
            return branch if self.layer_scale is None else LayerScale(self.layer_scale, name=name)(branch)

        normed = LayerNorm(dtype=self.dtype, name="attention_norm")(tokens)
        normed = tap(self, FEATURES, "norm1", normed)
        attended = ClassLayer(self.heads, dtype=self.dtype, name="attention")(normed, mask)
        reader = tokens[:, :1] + scaled(attended, "attention_scale")
        normed = LayerNorm(dtype=self.dtype, name="mlp_norm")(reader)
        reader = reader + scaled(Mlp(self.mlp_dim, dtype=self.dtype, name="mlp")(normed), "mlp_scale")
        return tap(self, FEATURES, "output", jnp.concatenate([reader, tokens[:, 1:]], axis=1))


class SequencePool(nn.Module):
    """The mean of patches under learned weights (Hassani et al. 2021, CCT, section 3.2).

    Attributes:
        heads: of the model; each shows the same weights.
        first: place of the first patch among all tokens.
        dtype: type of the computation.
    """

    heads: int
    first: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, patches: Float[Array, "batch patches width"], mask: Bool[Array, "batch patches"] | None
    ) -> Float[Array, "batch width"]:
        """One vector of all patches that are not masked."""
        scores = Dense(1, dtype=self.dtype, name="score")(patches)
        weights = pooling_weights(scores[:, None].swapaxes(2, 3), mask)
        weights = jnp.broadcast_to(weights, (len(patches), self.heads, 1, patches.shape[1]))
        weights = tap_weights(self, weights, self.first + patches.shape[1], (0, self.first))
        return jnp.einsum("bhqk,bkw->bw", weights / self.heads, patches.astype(jnp.float32))
