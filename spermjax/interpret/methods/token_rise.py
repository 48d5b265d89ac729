"""RISE by leaving tokens out: random sets of patches, each weighted by what the model thinks of them alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from spermjax.interpret.grid import to_grid
from spermjax.interpret.leaving_out import kept_logits
from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.model import Variables, attention_spec, probability


def token_rise(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    masks: int = 1000,
    keep: float = 0.5,
    seed: int = 0,
    chunk: int = 64,
) -> Float[Array, "batch rows columns"]:
    """RISE (Petsiuk et al. 2018, eq. 6) with masks of one size, uniform over sets of patches.

    Where `rise` keeps each cell by chance and paints the others, here the same number
    of patches is kept each time and the others are not in the sequence at all (Jain et
    al. 2022), so a mask costs only what it keeps. All images meet the same masks.

    Args:
        model: its `apply` takes a `token_mask`.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        masks: how many.
        keep: share of the patches that a mask keeps; at least one patch is.
        seed: of the masks.
        chunk: images in one forward pass (at least the batch): bounds the memory.
    """
    spec = attention_spec(model, images)
    patches = spec.grid[0] * spec.grid[1]
    size = max(1, round(keep * patches))

    def mask(number: Int[Array, ""]) -> Bool[Array, "patches"]:
        key = jax.random.fold_in(jax.random.key(seed), number)
        return jax.random.permutation(key, jnp.arange(patches) < size)

    shown = jax.vmap(mask)(jnp.arange(masks))

    def kept(number: Int[Array, ""]) -> Bool[Array, "batch patches"]:
        return jnp.broadcast_to(shown[number], (len(images), patches))

    logits = kept_logits(model, variables, images, kept, np.full(masks, size), chunk=chunk)
    heights = jax.vmap(probability, in_axes=(0, None))(logits, targets)
    return to_grid(jnp.einsum("mb,mp->bp", heights, shown.astype(heights.dtype)), spec) / (masks * size / patches)


register(
    Method(
        name="token_rise",
        native=token_rise,
        citation="Petsiuk et al. 2018; Jain et al. 2022",
        forward=1000,
        needs=frozenset({"attention", "chunk"}),
    )
)
