"""Axial attention: along rows and columns of the patch grid in turn."""

import dataclasses

import jax.numpy as jnp

from spermjax.models.attention.base import Given, Scoring
from spermjax.models.attention.layout import coordinates, with_prefix
from spermjax.models.attention.softmax import SoftmaxAttention


class AxialAttention(SoftmaxAttention):
    """Patches attend along their row in even layers, their column in odd ones (Ho et al. 2019, section 3.2).

    Tokens before the patches see and are seen by all.
    """

    spatial = True

    def scoring(self, given: Given) -> Scoring:
        """Dot products along one axis."""
        same_row, same_column = (jnp.asarray(place[:, None] == place) for place in coordinates(self.grid))
        line = jnp.where(given.layer % 2 == 0, same_row, same_column)
        return dataclasses.replace(super().scoring(given), allowed=with_prefix(line, self.prefix))
