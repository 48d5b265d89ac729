"""Many evaluations of one function in bounded memory.

`function` takes one index; `size` indices are evaluated at once, chunk after chunk.
The last chunk is padded with the last index, so one chunk is compiled.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int


def steps_at_once(batch: int, chunk: int) -> int:
    """How many steps over a batch of images make `chunk` images, at least one."""
    return max(1, chunk // batch)


def _indices(count: int, size: int) -> Int[Array, "chunks size"]:
    size = min(size, count)
    return jnp.minimum(jnp.arange(-(-count // size) * size), count - 1).reshape(-1, size)


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
