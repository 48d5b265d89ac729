"""Cosine attention: queries and keys normalised, with a learned temperature."""

from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from spermjax.models.attention.base import Given, Scoring
from spermjax.models.attention.softmax import SoftmaxAttention


class CosineAttention(SoftmaxAttention):
    """QK-normalised attention with a learned temperature (Henry et al. 2020; Liu et al. 2022, Swin V2, eq. 2).

    softmax(s cos(q, k)) with one learned s per head, at most 100 as in Swin V2.

    Attributes:
        initial_scale: s at the start.
    """

    initial_scale: float = 10.0

    def scoring(self, given: Given) -> Scoring:
        """Cosines times each head's scale."""
        start = nn.initializers.constant(jnp.log(self.initial_scale))
        log_scale = self.param("log_scale", start, (self.heads,))
        scale = jnp.exp(jnp.minimum(log_scale, jnp.log(100.0)))[:, None, None]
        # To length sqrt(channels), by a norm that relevance propagation knows; the scale makes up for it.
        norm = nn.RMSNorm(epsilon=1e-12, use_scale=False, dtype=self.dtype)
        scale = scale / given.key.shape[-1]
        return Scoring(norm(given.query) * scale.astype(self.dtype), norm(given.key))

    @classmethod
    def problems(cls, channels: int, options: Mapping[str, Any]) -> Iterable[str]:
        """The scale is positive and at most 100."""
        if not 0 < options.get("initial_scale", 1) <= 100:
            yield f"initial_scale is {options['initial_scale']}; it must be above 0 and at most 100"
