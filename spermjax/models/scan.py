"""Blocks in one compiled loop, with the same parameters and captures as in sequence."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from spermjax.models.attention.contract import ATTENTION, FEATURES


def scan_blocks(
    module: nn.Module,
    block: nn.Module,
    names: list[str],
    tokens: Float[Array, "batch tokens width"],
    mask: Bool[Array, "batch tokens"] | None,
    *,
    remat: bool,
) -> Float[Array, "batch tokens width"]:
    """Runs like-shaped blocks one after another, compiled once.

    Variables stay where they are without a loop, under each block's own name: they are
    stacked on the way in, and captures are taken apart on the way out. Dropout draws
    from other keys than without a loop.

    Args:
        module: whose variables hold those of the blocks.
        block: unbound, called as `(tokens, mask, layer)`.
        names: of the blocks, in order.
        tokens: of the first block.
        mask: of all blocks.
        remat: whether a block's inner values are computed again in the backward pass.
    """
    collections: dict[str, Any] = {
        collection: tree for collection, tree in module.variables.items() if all(name in tree for name in names)
    }
    stacked = {
        collection: jax.tree.map(lambda *leaves: jnp.stack(leaves), *(tree[name] for name in names))
        for collection, tree in collections.items()
    }
    captures = [name for name in (ATTENTION, FEATURES) if module.is_mutable_collection(name)]
    key = module.make_rng("dropout") if module.has_rng("dropout") else None

    def step(tokens: Float[Array, "batch tokens width"], of_layer: tuple[Any, Array]):
        variables, layer = of_layer
        rngs = None if key is None else {"dropout": jax.random.fold_in(key, layer)}
        return block.apply(variables, tokens, mask, layer, rngs=rngs, mutable=captures)

    step = jax.checkpoint(step, prevent_cse=False) if remat else step
    tokens, captured = jax.lax.scan(step, tokens, (stacked, jnp.arange(len(names))))
    for collection, tree in captured.items():
        for layer, name in enumerate(names):
            module.put_variable(collection, name, jax.tree.map(lambda leaf, layer=layer: leaf[layer], tree))
    return tokens
