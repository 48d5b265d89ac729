"""Logits with patches left out, in sequences that hold little more than what is kept.

A token that a mask leaves out costs as much as any other. A model that `shortens` is
given the kept tokens alone, so that half of the patches is half of the work. Lengths
are static and each is compiled by itself, so sets are put into a few groups of similar
size, each as long as its largest set.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from spermjax.interpret.chunks import map_in_chunks, steps_at_once
from spermjax.interpret.model import Variables, attention_spec

LENGTHS = 4
"""Sequences of different length that are compiled: the more, the less is computed in vain."""
SETS_PER_LENGTH = 16
"""Fewer sets than these aren't worth a length of their own."""


def lengths(sizes: Int[np.ndarray, "sets"]) -> Int[np.ndarray, "lengths"]:
    """Lengths, in increasing order, that serve sets of these sizes, about as many sets each."""
    count = max(1, min(LENGTHS, len(sizes) // SETS_PER_LENGTH))
    return np.unique([piece.max() for piece in np.array_split(np.sort(sizes), count)])


def kept_logits(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    kept: Callable[[Int[Array, ""]], Bool[Array, "batch patches"]],
    sizes: Int[np.ndarray, "sets"],
    *,
    chunk: int,
) -> Float[Array, "sets batch outputs"]:
    """Logits of each of many sets of patches.

    Args:
        model: its `apply` takes a `token_mask`, and `keep` where it `shortens` (see
            `spermjax.models.attention.contract`).
        variables: its parameters and state.
        images: intensities in [0, 1].
        kept: the patches of a set by its number.
        sizes: how many patches each set keeps.
        chunk: images in one forward pass (at least the batch): bounds the memory.

    Returns:
        What a `token_mask` alone would give, in the order of `sizes`.
    """
    rows, columns = attention_spec(model, images).grid
    available = lengths(sizes) if getattr(model, "shortens", False) else np.array([rows * columns])
    group = np.searchsorted(available, sizes)
    logits = []
    for place, length in enumerate(available):
        members = np.flatnonzero(group == place)

        def of_set(number: Int[Array, ""], length=length, members=members) -> Float[Array, "batch outputs"]:
            mask = kept(jnp.asarray(members)[number])
            if length == rows * columns:
                return model.apply(variables, images, token_mask=mask)
            keep = jnp.argsort(~mask, axis=1, stable=True)[:, :length]
            return model.apply(variables, images, token_mask=mask, keep=keep)

        logits.append(map_in_chunks(of_set, len(members), steps_at_once(len(images), chunk)))
    return jnp.concatenate(logits)[np.argsort(np.argsort(group, kind="stable"))]
