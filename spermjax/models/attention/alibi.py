"""Attention with linear biases in two dimensions (Press et al. 2022)."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from spermjax.models.attention.base import Given, Scoring
from spermjax.models.attention.layout import distances
from spermjax.models.attention.softmax import SoftmaxAttention


class AlibiAttention(SoftmaxAttention):
    """Scores fall linearly with distance, at a slope of each head's own (Press et al. 2022; Fuller et al. 2023).

    Head h of H, the first being 1, has the slope 2^(-8 h / H); distance is Euclidean,
    in patches. Tokens before the patches are at distance zero from all.
    """

    spatial = True

    def scoring(self, given: Given) -> Scoring:
        """Dot products minus slope times distance."""
        slopes = 2.0 ** (-8.0 * np.arange(1, self.heads + 1) / self.heads)
        distance = np.pad(distances(self.grid), ((self.prefix, 0), (self.prefix, 0)))
        bias = jnp.asarray(-slopes[:, None, None] * distance, jnp.float32)
        return dataclasses.replace(super().scoring(given), bias=bias)
