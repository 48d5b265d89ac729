"""The pre-norm transformer block."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Bool, Float, Int

from spermjax.models.attention import VARIANTS
from spermjax.models.attention.contract import FEATURES, asked_for, tap_tokens
from spermjax.models.layers import LayerScale, Mlp, PerExampleDropout
from spermjax.models.norm import LayerNorm


class Block(nn.Module):
    """A pre-norm transformer block: attention, then an MLP, each on a residual branch.

    Attributes:
        attention: name of the attention variant.
        heads: attention heads.
        grid: rows and columns of patches.
        mlp_dim: hidden channels of the MLP.
        layer_scale: initial LayerScale, or None.
        stochastic_depth: probability that a branch of the last block is skipped in training.
        dropout: dropout at the end of each branch.
        train: whether dropout and stochastic depth act.
        depth: blocks of the model; a branch is skipped the more often the later it is.
        attention_options: of the variant.
        prefix: tokens before the patches.
        readers: tokens that join behind the blocks.
        read: how many tokens, from the first, are read behind the block; None for all. The others
            are given to nobody, and are left out after attention unless the block's output is asked for.
        fused: see `SelfAttention`.
        axis_name: mapped axis of the batch, for dropout that ignores the device count.
        dtype: type of the computation.
    """

    attention: str
    heads: int
    grid: tuple[int, int]
    mlp_dim: int
    layer_scale: float | None = None
    stochastic_depth: float = 0.0
    dropout: float = 0.0
    train: bool = False
    depth: int = 1
    attention_options: FrozenDict[str, Any] = FrozenDict()
    prefix: int = 0
    readers: int = 0
    read: int | None = None
    fused: bool = False
    axis_name: str | None = None
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        tokens: Float[Array, "batch tokens width"],
        mask: Bool[Array, "batch tokens"] | None,
        layer: int | Int[Array, ""],
    ) -> Float[Array, "batch read width"]:
        def residual(branch: Float[Array, "batch read width"], name: str) -> Float[Array, "batch read width"]:
            if self.layer_scale is not None:
                branch = LayerScale(self.layer_scale, name=f"{name}_scale")(branch)
            branch = PerExampleDropout(self.dropout, axis_name=self.axis_name, name=f"{name}_dropout")(
                branch, train=self.train
            )
            return PerExampleDropout(
                self.stochastic_depth, per_channel=False, axis_name=self.axis_name, name=f"{name}_depth"
            )(branch, train=self.train, share=layer / max(1, self.depth - 1))

        read = None if asked_for(self, FEATURES, "output") else self.read
        options: dict[str, Any] = {**self.attention_options}
        normed = LayerNorm(dtype=self.dtype, name="attention_norm")(tokens)
        normed = tap_tokens(self, "norm1", normed, self.readers)
        attended = VARIANTS[self.attention](
            heads=self.heads,
            grid=self.grid,
            prefix=self.prefix,
            readers=self.readers,
            read=read,
            fused=self.fused,
            dtype=self.dtype,
            name="attention",
            **options,
        )(normed, mask, layer)
        tokens = tokens[:, :read] + residual(attended, "attention")
        normed = LayerNorm(dtype=self.dtype, name="mlp_norm")(tokens)
        tokens = tokens + residual(Mlp(self.mlp_dim, dtype=self.dtype, name="mlp")(normed), "mlp")
        return tap_tokens(self, "output", tokens, self.readers)
