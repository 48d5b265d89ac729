"""The vision transformer (Dosovitskiy et al. 2021), its attention a first-class output."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Bool, Float, Int

from spermjax.errors import ConfigError
from spermjax.models.attention import VARIANTS
from spermjax.models.attention.class_attention import ClassAttention
from spermjax.models.attention.contract import FEATURES, AttentionSpec, tap, tap_tokens
from spermjax.models.attention.part_query import PartQueries
from spermjax.models.block import Block
from spermjax.models.layers import embedding_init, normalised
from spermjax.models.norm import LayerNorm
from spermjax.models.positions import sincos_2d
from spermjax.models.readout import READERS, ClassBlock, SequencePool
from spermjax.models.scan import scan_blocks
from spermjax.models.stem import STEMS


class ViT(nn.Module):
    """A vision transformer that classifies, and shows what it attended to.

    Collections, filled only when they are asked for through `mutable`:

    - `attention`: `block_i/attention/weights`, `[batch, heads, queries, keys]`, and those
      of the layers behind the blocks, if there are any;
    - `contributions`: `part_query/parts`, `[batch, parts, outputs]`, of part queries;
    - `features`: `tokens` (input of the first block), `block_i/norm1` and
      `block_i/output`, each `[batch, tokens, width]`; `pooled`, what the head reads.

    Tokens are ordered: class tokens (if the logits are read from any), registers,
    patches row-major.

    Attributes:
        num_outputs: logits.
        patch_size: side of a patch in pixels.
        width: channels of a token.
        depth: blocks.
        heads: attention heads; divides the width.
        mlp_dim: hidden channels of the MLP; None for four times the width.
        stem: name of the way from pixels to tokens, out of `STEMS`.
        pool: `class_token`, `mean` (over patch tokens, after the last norm),
            `class_and_mean`, or `sequence` (that mean under learned weights).
        positions: `learned`, for every token, `sincos`, for patches, or `none`.
        registers: register tokens (Darcet et al. 2024).
        attention: name of the attention variant.
        attention_options: of the variant.
        layer_scale: initial LayerScale, or None.
        stochastic_depth: probability that the last block is skipped; linear in depth.
        dropout: dropout at the end of each residual branch.
        fused: whether a fused kernel serves where a variant allows it and nobody looks
            at the weights.
        scan: whether the blocks are one compiled loop; parameters and captures stay
            what they are, dropout draws from other keys.
        remat: whether a block's inner values are computed again in the backward pass.
        mean: mean of each colour that the model subtracts.
        std: standard deviation of each colour that the model divides by.
        per_image: whether each image's own mean and standard deviation serve instead.
        axis_name: mapped axis of the batch, for dropout that ignores the device count.
        dtype: type of the computation; parameters are float32.
    """

    num_outputs: int
    patch_size: int = 8
    width: int = 128
    depth: int = 6
    heads: int = 4
    mlp_dim: int | None = None
    stem: str = "patch"
    pool: str = "class_token"
    positions: str = "learned"
    registers: int = 0
    attention: str = "softmax"
    attention_options: FrozenDict[str, Any] = FrozenDict()
    layer_scale: float | None = None
    stochastic_depth: float = 0.0
    dropout: float = 0.0
    fused: bool = False
    scan: bool = False
    remat: bool = False
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    per_image: bool = False
    axis_name: str | None = None
    dtype: jnp.dtype = jnp.float32

    @property
    def readout(self) -> str:
        """How the logits are read: as the attention variant has it, else by `pool`."""
        return VARIANTS[self.attention].readout or self.pool

    @property
    def prefix(self) -> int:
        """Tokens before the patches in the blocks."""
        return self.registers + (self.readout in ("class_token", "class_and_mean"))

    @property
    def readers(self) -> int:
        """Tokens that join behind the blocks; in what is captured they come first."""
        return READERS.get(self.readout, 0)

    @property
    def read(self) -> int | None:
        """How many tokens, from the first, the last block must give; None for all."""
        return 1 if self.readout == "class_token" else None

    @property
    def shortens(self) -> bool:
        """Whether `keep` is taken: weights that depend on where patches lie ask for all of them."""
        return not VARIANTS[self.attention].spatial

    def attention_spec(self, image_size: tuple[int, int]) -> AttentionSpec:
        """How captured attention is to be read for images of this height and width."""
        return AttentionSpec(
            prefix=self.readers + self.prefix,
            grid=(image_size[0] // self.patch_size, image_size[1] // self.patch_size),
            normalised=VARIANTS[self.attention].normalised,
            reads="mean" if self.readout == "mean" else "class_token",
            class_tokens=self.readers or 1,
        )

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch height width 3"],
        token_mask: Bool[Array, "batch patches"] | None = None,
        keep: Int[Array, "batch kept"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "batch outputs"]:
        """Classifies images.

        Args:
            images: intensities in [0, 1]; the patch size divides height and width.
            token_mask: False for patches that are left out: they are attended to by
                no token and pooled by none, as if they had never been in the sequence.
            keep: indices, row-major and each once, of the patches that are in the
                sequence at all. The result is that of a `token_mask` that is False for
                the others, for less work; what is captured has these patches alone.
            train: whether dropout and stochastic depth act (rng `dropout`).

        Returns:
            Logits, in single precision or better.

        Raises:
            ConfigError: `keep` for an attention that doesn't shorten.
        """
        images = normalised(images, self.mean, self.std, self.per_image)
        grid = STEMS[self.stem](self.patch_size, self.width, dtype=self.dtype, name="stem")(images)
        batch, rows, columns, _ = grid.shape
        tokens = self._with_prefix_and_positions(grid.reshape(batch, rows * columns, self.width), (rows, columns))
        if keep is not None:
            tokens, token_mask = self._kept(tokens, token_mask, keep)
            rows, columns = 1, keep.shape[1]
        tokens = tap_tokens(self, "tokens", tokens, self.readers)
        mask = None
        if token_mask is not None:
            mask = jnp.concatenate([jnp.ones((batch, self.prefix), bool), token_mask], axis=1)
        tokens = self._blocks(tokens, mask, (rows, columns), train=train)
        return self._logits(tokens, mask)

    def _with_prefix_and_positions(
        self, patches: Float[Array, "batch patches width"], grid: tuple[int, int]
    ) -> Float[Array, "batch tokens width"]:
        tokens = patches
        if self.positions == "sincos":
            tokens = tokens + jnp.asarray(sincos_2d(grid, self.width), self.dtype)
        if self.prefix:
            prefix = self.param("prefix", embedding_init, (self.prefix, self.width)).astype(self.dtype)
            tokens = jnp.concatenate([jnp.broadcast_to(prefix, (tokens.shape[0], *prefix.shape)), tokens], axis=1)
        if self.positions == "learned":
            tokens = tokens + self.param("positions", embedding_init, tokens.shape[1:]).astype(self.dtype)
        return tokens

    def _kept(
        self,
        tokens: Float[Array, "batch tokens width"],
        token_mask: Bool[Array, "batch patches"] | None,
        keep: Int[Array, "batch kept"],
    ) -> tuple[Float[Array, "batch prefix+kept width"], Bool[Array, "batch kept"] | None]:
        if not self.shortens:
            raise ConfigError(
                f"{self.attention} attention depends on where patches lie, so patches can't be left out by `keep`; "
                "use `token_mask`."
            )
        patches = jnp.take_along_axis(tokens[:, self.prefix :], keep[:, :, None], axis=1)
        mask = None if token_mask is None else jnp.take_along_axis(token_mask, keep, axis=1)
        return jnp.concatenate([tokens[:, : self.prefix], patches], axis=1), mask

    def _blocks(
        self,
        tokens: Float[Array, "batch tokens width"],
        mask: Bool[Array, "batch tokens"] | None,
        grid: tuple[int, int],
        *,
        train: bool,
    ) -> Float[Array, "batch read width"]:
        fields: dict[str, Any] = {
            "attention": self.attention,
            "heads": self.heads,
            "grid": grid,
            "mlp_dim": self.mlp_dim or 4 * self.width,
            "layer_scale": self.layer_scale,
            "stochastic_depth": self.stochastic_depth,
            "dropout": self.dropout,
            "train": train,
            "depth": self.depth,
            "attention_options": self.attention_options,
            "prefix": self.prefix,
            "readers": self.readers,
            "fused": self.fused,
            "axis_name": self.axis_name,
            "dtype": self.dtype,
        }
        names = [f"block_{layer}" for layer in range(self.depth)]
        if self.scan and not self.is_initializing():
            return scan_blocks(self, Block(parent=None, **fields), names, tokens, mask, remat=self.remat)
        block = nn.remat(Block) if self.remat else Block
        for layer, name in enumerate(names):
            read = self.read if layer == self.depth - 1 else None
            tokens = block(name=name, read=read, **fields)(tokens, mask, layer)
        return tokens

    def _logits(
        self, tokens: Float[Array, "batch read width"], mask: Bool[Array, "batch tokens"] | None
    ) -> Float[Array, "batch outputs"]:
        if self.readout == "class_attention":
            tokens, mask = self._class_attention(tokens, mask)
        tokens = LayerNorm(dtype=self.dtype, name="norm")(tokens)
        patches, kept = tokens[:, self.prefix :], None if mask is None else mask[:, self.prefix :]
        first = self.readers + self.prefix
        if self.readout == "part_query":
            queries = PartQueries(self.num_outputs, self.heads, first, dtype=self.dtype, name="part_query")
            return queries(patches, kept)
        if self.readout == "sequence":
            pooled = SequencePool(self.heads, first, dtype=self.dtype, name="sequence_pool")(patches, kept)
        elif self.readout in ("mean", "class_and_mean"):
            pooled = patches.mean(axis=1) if kept is None else _mean_of_kept(patches, kept)
            if self.readout == "class_and_mean":
                pooled = jnp.concatenate([tokens[:, 0], pooled], axis=-1)
        else:
            pooled = tokens[:, 0]
        pooled = tap(self, FEATURES, "pooled", pooled.astype(jnp.promote_types(self.dtype, jnp.float32)))
        return nn.Dense(self.num_outputs, kernel_init=embedding_init, name="head")(pooled)

    def _class_attention(
        self, tokens: Float[Array, "batch tokens width"], mask: Bool[Array, "batch tokens"] | None
    ) -> tuple[Float[Array, "batch 1+tokens width"], Bool[Array, "batch 1+tokens"] | None]:
        reader = self.param("class_token", embedding_init, (1, 1, self.width)).astype(self.dtype)
        tokens = jnp.concatenate([jnp.broadcast_to(reader, (len(tokens), 1, self.width)), tokens], axis=1)
        mask = None if mask is None else jnp.pad(mask, ((0, 0), (1, 0)), constant_values=True)
        layers: int = dict[str, Any](self.attention_options).get("layers", ClassAttention.layers)
        for layer in range(layers):
            tokens = ClassBlock(
                heads=self.heads,
                mlp_dim=self.mlp_dim or 4 * self.width,
                layer_scale=self.layer_scale,
                dtype=self.dtype,
                name=f"class_block_{layer}",
            )(tokens, mask)
        return tokens, mask


def _mean_of_kept(
    patches: Float[Array, "batch patches width"], kept: Bool[Array, "batch patches"]
) -> Float[Array, "batch width"]:
    """Zero where none is kept, so that a class token beside it still has logits."""
    weights = kept / jnp.maximum(kept.sum(axis=1, keepdims=True), 1)
    return jnp.einsum("bk,bkw->bw", weights.astype(patches.dtype), patches)
