"""Differential attention: what two softmaxes share is noise, and is taken away."""

from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.models.attention.base import Given, ScoredAttention, Scoring, allowed, scores


class DifferentialAttention(ScoredAttention):
    """softmax(q1 k1) - lambda softmax(q2 k2) (Ye et al. 2024, eqs. 1 to 3).

    A head's query and key channels are halved into the two; its values stay whole, so
    the parameters are those of softmax attention. Each head's result is normalised by
    its root mean square, gains shared by the heads. Captured is the difference: rows
    sum to 1 - lambda and may hold negative weights.
    """

    normalised = False

    def _initial(self, given: Given):
        return 0.8 - 0.6 * jnp.exp(-0.3 * jnp.asarray(given.layer, jnp.float32))

    def weights(self, given: Given) -> Float[Array, "batch heads tokens tokens"]:
        """The difference of both attentions."""
        channels = given.query.shape[-1] // 2
        start = nn.initializers.normal(0.1)
        vectors = {name: self.param(name, start, (channels,)) for name in ("query_1", "key_1", "query_2", "key_2")}
        ratio = jnp.exp(vectors["query_1"] @ vectors["key_1"]) - jnp.exp(vectors["query_2"] @ vectors["key_2"])
        halves = []
        for half in (slice(channels), slice(channels, None)):
            scoring = Scoring(given.query[..., half] * channels**-0.5, given.key[..., half])
            halves.append(self.over_allowed(scores(scoring), allowed(scoring, given.mask)))
        return halves[0] - (ratio + self._initial(given)) * halves[1]

    def mix(
        self, given: Given, value: Float[Array, "batch heads tokens channels"]
    ) -> Float[Array, "batch heads tokens channels"]:
        """Weighted sums of values, each head normalised."""
        mixed = nn.RMSNorm(dtype=self.dtype, name="norm")(super().mix(given, value))
        return mixed * (1.0 - self._initial(given)).astype(self.dtype)

    @classmethod
    def problems(cls, channels: int, options: Mapping[str, Any]) -> Iterable[str]:
        """Channels are halved."""
        del options
        if channels % 2:
            yield f"a head has {channels} channels; differential attention halves them"
