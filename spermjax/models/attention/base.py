"""What the attention variants share: projections around weights that each defines."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from spermjax.models.attention.contract import ATTENTION, asked_for, tap_weights
from spermjax.models.layers import Dense, softmax

MASKED = -1e30
"""Score of a key that takes no part: finite, so that a row without any key stays so."""


@flax.struct.dataclass
class Given:
    """All that the weights of a layer may depend on.

    Attributes:
        tokens: what the layer was given.
        query: what each token asks for.
        key: what each token offers.
        mask: False where a token takes no part as a key.
        layer: index of the layer, the first being 0; traced where layers are scanned.
    """

    tokens: Float[Array, "batch tokens width"]
    query: Float[Array, "batch heads tokens channels"]
    key: Float[Array, "batch heads tokens channels"]
    mask: Bool[Array, "batch tokens"] | None
    layer: int | Int[Array, ""]


@flax.struct.dataclass
class Scoring:
    """Scores are `query @ key + bias`, and count where `allowed`.

    Attributes:
        query: scaled.
        key: as it is.
        bias: added to the scores, or None.
        allowed: False for pairs that take no part, or None where all do.
    """

    query: Float[Array, "batch heads queries channels"]
    key: Float[Array, "batch heads tokens channels"]
    bias: Float[Array, "heads queries tokens"] | None = None
    allowed: Bool[Array, "#batch 1 #queries tokens"] | None = None

    def of_first(self, queries: int | None) -> "Scoring":
        """That of so many tokens, from the first; None for all."""
        return Scoring(
            self.query[:, :, :queries],
            self.key,
            None if self.bias is None else self.bias[:, :queries],
            None if self.allowed is None else self.allowed[:, :, :queries],
        )


class SelfAttention(nn.Module):
    """Multi-head self-attention whose weights a variant defines.

    A variant's own fields are its options: their types and defaults are read from the
    class, and a configuration is checked against them.

    Attributes:
        heads: number of heads; divides the width.
        grid: rows and columns of patches.
        prefix: tokens before the patches.
        readers: tokens that join behind the blocks and are not among `tokens`.
        read: how many tokens, from the first, are read behind the layer; None for all. All have weights
            where somebody looks at them.
        fused: whether `jax.nn.dot_product_attention` serves where a variant allows it
            and nobody looks at the weights.
        dtype: type of the computation; the weights themselves have single precision or better.
    """

    heads: int
    grid: tuple[int, int]
    prefix: int = 0
    readers: int = 0
    read: int | None = None
    fused: bool = False
    dtype: jnp.dtype = jnp.float32

    normalised: ClassVar[bool] = True
    """Whether rows of the weights are non-negative and sum to one."""
    spatial: ClassVar[bool] = False
    """Whether the weights depend on where patches lie."""
    readout: ClassVar[str | None] = None
    """How the logits are read, where that is the variant's point."""

    @classmethod
    def problems(cls, channels: int, options: Mapping[str, Any]) -> Iterable[str]:
        """What is wrong with the variant's options, or with the channels of a head."""
        del channels, options
        return ()

    def weights(self, given: Given) -> Float[Array, "batch heads queries tokens"]:
        """What each token takes from each, in single precision or better; of those tokens, at least, that are read."""
        raise NotImplementedError

    def mix(
        self, given: Given, value: Float[Array, "batch heads tokens channels"]
    ) -> Float[Array, "batch heads queries channels"]:
        """The weighted sums of values, at least for those tokens that are read."""
        weights = tap_weights(self, self.weights(given), self._tokens, (self.readers, self.readers))
        return jnp.einsum("bhqk,bhkc->bhqc", weights[:, :, : self.read].astype(self.dtype), value)

    @property
    def _tokens(self) -> int:
        return self.readers + self.prefix + self.grid[0] * self.grid[1]

    @nn.compact
    def __call__(
        self,
        tokens: Float[Array, "batch tokens width"],
        mask: Bool[Array, "batch tokens"] | None = None,
        layer: int | Int[Array, ""] = 0,
    ) -> Float[Array, "batch read width"]:
        """Attends.

        Args:
            tokens: prefix, then patches.
            mask: False where a token is attended to by none; at least one must be left.
            layer: index of the layer.
        """
        width = tokens.shape[-1]
        shape = (3, self.heads, width // self.heads)
        qkv = Dense(shape, dtype=self.dtype, name="qkv")(tokens)
        query, key, value = jnp.moveaxis(qkv, (2, 3), (0, 2))
        mixed = self.mix(Given(tokens, query, key, mask, layer), value)[:, :, : self.read]
        return Dense(width, axes=2, dtype=self.dtype, name="out")(jnp.moveaxis(mixed, 1, 2))


class ScoredAttention(SelfAttention):
    """Attention that turns each row of scores into a distribution."""

    def scoring(self, given: Given) -> Scoring:
        """Scaled dot products (Vaswani et al. 2017, eq. 1); variants add to them."""
        return Scoring(given.query * given.query.shape[-1] ** -0.5, given.key)

    def normalise(self, scores: Float[Array, "*lead keys"]) -> Float[Array, "*lead keys"]:
        """From scores to weights that are non-negative and sum to one."""
        return softmax(scores)

    def weights(self, given: Given) -> Float[Array, "batch heads queries tokens"]:
        """Distributions over the allowed keys; zero for a query that has none."""
        scoring = self.scoring(given)
        if not asked_for(self, ATTENTION, "weights"):
            scoring = scoring.of_first(self.read)
        return self.over_allowed(scores(scoring), allowed(scoring, given.mask))

    def over_allowed(
        self,
        scores: Float[Array, "batch heads queries tokens"],
        allowed: Bool[Array, "#batch 1 #queries tokens"] | None,
    ) -> Float[Array, "batch heads queries tokens"]:
        """`normalise` over allowed keys alone."""
        if allowed is None:
            return self.normalise(scores)
        return jnp.where(allowed, self.normalise(jnp.where(allowed, scores, MASKED)), 0.0)


def scores(scoring: Scoring) -> Float[Array, "batch heads queries tokens"]:
    """`query @ key + bias` in single precision, or better where the inputs are."""
    kind = jnp.promote_types(scoring.query.dtype, jnp.float32)
    product = jnp.einsum("bhqc,bhkc->bhqk", scoring.query, scoring.key, preferred_element_type=kind)
    return product if scoring.bias is None else product + scoring.bias


def allowed(
    scoring: Scoring, mask: Bool[Array, "batch tokens"] | None
) -> Bool[Array, "#batch 1 #queries tokens"] | None:
    """Pairs that take part: allowed by the variant, the key not masked."""
    if mask is None:
        return scoring.allowed
    keys = mask[:, None, None, :]
    return keys if scoring.allowed is None else scoring.allowed & keys
