"""Attention within windows of the patch grid (Liu et al. 2021)."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp

from spermjax.models.attention.base import Given, Scoring
from spermjax.models.attention.layout import coordinates, with_prefix
from spermjax.models.attention.softmax import SoftmaxAttention


class WindowAttention(SoftmaxAttention):
    """A patch attends within its window, shifted by half in every other layer (Liu et al. 2021, section 3.2).

    Windows at the border are cut off, not rolled round. Tokens before the patches see
    and are seen by all. Weights outside the window are zero but not skipped: at the
    sizes of a cell the map is small, and it keeps its shape.

    Attributes:
        window: side of a window in patches.
        shift: whether every other layer shifts its windows by half.
    """

    window: int = 4
    shift: bool = True

    spatial = True

    def scoring(self, given: Given) -> Scoring:
        """Dot products within windows."""
        offset = (self.window // 2) * (given.layer % 2) if self.shift else 0
        row, column = (jnp.asarray(place + offset) // self.window for place in coordinates(self.grid))
        together = (row[:, None] == row) & (column[:, None] == column)
        return dataclasses.replace(super().scoring(given), allowed=with_prefix(together, self.prefix))

    @classmethod
    def problems(cls, channels: int, options: Mapping[str, Any]) -> Iterable[str]:
        """A window holds a patch."""
        if options.get("window", 1) < 1:
            yield f"window is {options['window']}; it must be 1 or more"
