"""Many evaluations of one function in bounded memory.

`function` takes one index; at most `size` indices are evaluated at once, chunk after
chunk. All chunks are of one length, the last is padded with the last index, so one chunk is
compiled and less than one evaluation for each chunk is wasted.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int


def steps_at_once(batch: int, chunk: int) -> int:
    """How many steps over a batch of images make `chunk` images, at least one."""
    return max(1, chunk // batch)


def in_one_batch(function: Callable[[Any, Array, Array], Array]) -> Callable[[Any, Array, Array], Array]:
    """`function(variables, images, targets)`, which treats each image by itself and sees one long batch under `vmap`.

    A gradient of one long batch takes a sixth less time than `vmap` over short ones.
    """

    @jax.custom_batching.custom_vmap
    def folded(variables: Any, images: Array, targets: Array) -> Array:
        return function(variables, images, targets)

    @folded.def_vmap
    def fold(size: int, batched: Any, variables: Any, images: Array, targets: Array) -> tuple[Array, bool]:
        if any(jax.tree.leaves(batched[0])):
            axes = jax.tree.map(lambda mapped: 0 if mapped else None, batched)
            return jax.vmap(function, in_axes=axes)(variables, images, targets), True
        arrays = [
            (x if mapped else jnp.broadcast_to(x, (size, *x.shape))).reshape(-1, *x.shape[1 + mapped :])
            for x, mapped in zip((images, targets), batched[1:], strict=True)
        ]
        values = folded(variables, *arrays)
        return values.reshape(size, -1, *values.shape[1:]), True

    return folded


def _indices(count: int, size: int) -> Int[Array, "chunks size"]:
    chunks = -(-count // size)
    length = -(-count // chunks)
    return jnp.minimum(jnp.arange(chunks * length), count - 1).reshape(chunks, length)


def map_in_chunks(function: Callable[[Int[Array, ""]], Any], count: int, size: int) -> Any:
    """`function` of each index below `count`, stacked on a new leading axis."""
    stacked = jax.lax.map(jax.vmap(function), _indices(count, size))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], stacked)


def sum_in_chunks(function: Callable[[Int[Array, ""]], Array], count: int, size: int) -> Array:
    """The sum of `function` over indices below `count`; only one chunk is held in memory."""
    indices = _indices(count, size)
    counted = (jnp.arange(indices.size) < count).reshape(indices.shape)
    one = jax.eval_shape(function, indices[0, 0])

    def add(total: Array, chunk: tuple[Array, Array]) -> tuple[Array, None]:
        chunk_indices, chunk_counted = chunk
        return total + jnp.tensordot(chunk_counted.astype(one.dtype), jax.vmap(function)(chunk_indices), axes=1), None

    total, _ = jax.lax.scan(add, jnp.zeros(one.shape, one.dtype), (indices, counted))
    return total
