"""Part queries: logits are a sum over parts of the cell, each with its own attention."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from spermjax.models.attention.class_attention import pooling_weights
from spermjax.models.attention.contract import CONTRIBUTIONS, tap, tap_weights
from spermjax.models.attention.softmax import SoftmaxAttention
from spermjax.models.layers import Dense, embedding_init
from spermjax.parts import PARTS


class PartQueryAttention(SoftmaxAttention):
    """Softmax blocks without a class token, then one learned query for each part of the cell (spermjax).

    Each query pools the patches into a token of its part, and the logits are a linear
    function of these tokens: the sum of one contribution a part, plus a bias. Which
    part a query follows is learned from guidance, where there are masks; without it,
    its name is only a name.
    """

    readout = "part_query"


class PartQueries(nn.Module):
    """Pools patches by one query a part, and sums what each part contributes to the logits.

    Fills `attention` with `weights`, where part `i` of `PARTS` is token `i`, and
    `contributions` with `parts`, `[batch, parts, outputs]`, whose sum over parts plus
    the bias is the logits.

    Attributes:
        num_outputs: logits.
        heads: number of heads; divides the width.
        first: place of the first patch among all tokens.
        dtype: type of the computation; contributions are float32.
    """

    num_outputs: int
    heads: int
    first: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, patches: Float[Array, "batch patches width"], mask: Bool[Array, "batch patches"] | None
    ) -> Float[Array, "batch outputs"]:
        """Logits of the patches, without those that are masked."""
        shape = (self.heads, patches.shape[-1] // self.heads)
        query = self.param("queries", nn.initializers.normal(1.0), (len(PARTS), *shape)).astype(self.dtype)
        projection = Dense((2, *shape), dtype=self.dtype, name="key_value")
        key, value = jnp.moveaxis(projection(patches), (2, 3), (0, 2))
        weights = pooling_weights(jnp.einsum("phc,bhkc->bhpk", query * shape[1] ** -0.5, key), mask)
        weights = tap_weights(self, weights, self.first + patches.shape[1], (0, self.first))
        tokens = jnp.einsum("bhpk,bhkc->bhpc", weights, value.astype(jnp.float32))
        kernel = self.param("kernel", embedding_init, (len(PARTS), *shape, self.num_outputs))
        parts = tap(self, CONTRIBUTIONS, "parts", jnp.einsum("bhpc,phco->bpo", tokens, kernel))
        return parts.sum(axis=1) + self.param("bias", nn.initializers.zeros, (self.num_outputs,))
