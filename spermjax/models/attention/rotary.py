"""Rotary position embedding in two dimensions (Su et al. 2021; Heo et al. 2024)."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from spermjax.models.attention.base import Given, Scoring
from spermjax.models.attention.layout import coordinates
from spermjax.models.attention.softmax import SoftmaxAttention


def angles(grid: tuple[int, int], channels: int, base: float) -> Float[np.ndarray, "patches pairs"]:
    """The angle by which each pair of channels turns: first half of the pairs by column, the rest by row."""
    rows, columns = coordinates(grid)
    frequencies = base ** -(np.arange(channels // 4) / (channels // 4))
    return np.concatenate([columns[:, None] * frequencies, rows[:, None] * frequencies], axis=1)


def rotate(
    x: Float[Array, "batch heads tokens channels"], angle: Float[np.ndarray, "tokens pairs"]
) -> Float[Array, "batch heads tokens channels"]:
    """Turns channel pairs (i, i + channels / 2) by their angles (Su et al. 2021, eq. 34)."""
    first, second = jnp.split(x, 2, axis=-1)
    cosine, sine = (jnp.asarray(f(angle), x.dtype) for f in (np.cos, np.sin))
    return jnp.concatenate([first * cosine - second * sine, first * sine + second * cosine], axis=-1)


class RotaryAttention(SoftmaxAttention):
    """Queries and keys turned by their place, so scores see only offsets (Su et al. 2021; Heo et al. 2024, eq. 10).

    Tokens before the patches are not turned.

    Attributes:
        base: ratio of the longest to the shortest wavelength.
    """

    base: float = 100.0

    spatial = True

    def scoring(self, given: Given) -> Scoring:
        """Dot products of turned queries and keys."""
        turn = np.pad(angles(self.grid, given.query.shape[-1], self.base), ((self.prefix, 0), (0, 0)))
        scoring = super().scoring(given)
        return dataclasses.replace(scoring, query=rotate(scoring.query, turn), key=rotate(scoring.key, turn))

    @classmethod
    def problems(cls, channels: int, options: Mapping[str, Any]) -> Iterable[str]:
        """Pairs of channels turn by row and by column."""
        if channels % 4:
            yield f"a head has {channels} channels; rotary attention asks for a multiple of 4"
        if options.get("base", 2.0) <= 1:
            yield f"base is {options['base']}; it must be above 1"
