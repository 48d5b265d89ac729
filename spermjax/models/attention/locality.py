"""Locality self-attention for small data sets (Lee et al. 2021)."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp

from spermjax.models.attention.base import Given, Scoring
from spermjax.models.attention.softmax import SoftmaxAttention


class LocalityAttention(SoftmaxAttention):
    """A learned temperature, and no attention to oneself (Lee, Lee & Song 2021, eqs. 5 to 7).

    Attributes:
        learned_temperature: one per layer, sqrt(channels) at the start; else fixed there.
        mask_diagonal: whether a token leaves itself out.
    """

    learned_temperature: bool = True
    mask_diagonal: bool = True

    def scoring(self, given: Given) -> Scoring:
        """Dot products over the temperature, without the diagonal."""
        scoring = super().scoring(given)
        if self.learned_temperature:
            start = nn.initializers.constant(given.query.shape[-1] ** 0.5)
            temperature = self.param("temperature", start, ())
            scoring = dataclasses.replace(scoring, query=given.query / temperature.astype(self.dtype))
        if self.mask_diagonal:
            scoring = dataclasses.replace(scoring, allowed=~jnp.eye(given.query.shape[2], dtype=bool)[None, None])
        return scoring
