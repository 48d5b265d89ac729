"""Many evaluations of one function in bounded memory.

`function` takes one index; at most `size` indices are evaluated at once, chunk after
chunk. All chunks are of one length, the last is padded with the last index, so one chunk is
compiled and less than one evaluation for each chunk is wasted.

Devices that are all given the same images share the indices between them (`shared_over`):
so one image is explained by all of them.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
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


_AXIS: ContextVar[str | None] = ContextVar("axis", default=None)


@contextlib.contextmanager
def shared_over(axis: str | None) -> Iterator[None]:
    """Says, while a function is traced, that a mapped axis of devices holds the same images and shares the work."""
    token = _AXIS.set(axis)
    try:
        yield
    finally:
        _AXIS.reset(token)


def _own_indices(count: int, axis: str | None) -> tuple[Int[Array, ""] | int, int]:
    """The first of this device's indices, and how many each device has; the last may have some beyond `count`."""
    if axis is None:
        return 0, count
    each = -(-count // jax.lax.axis_size(axis))
    return jax.lax.axis_index(axis) * each, each


def _chunks(count: int, size: int) -> Int[Array, "chunks size"]:
    chunks = -(-count // size)
    length = -(-count // chunks)
    return jnp.minimum(jnp.arange(chunks * length), count - 1).reshape(chunks, length)


def map_in_chunks(function: Callable[[Int[Array, ""]], Any], count: int, size: int) -> Any:
    """`function` of each index below `count`, stacked on a new leading axis."""
    axis = _AXIS.get()
    first, each = _own_indices(count, axis)
    # What a function does within belongs to one index, which no other device has.
    with shared_over(None):
        stacked = jax.lax.map(jax.vmap(function), jnp.minimum(first + _chunks(each, size), count - 1))

    def whole(leaf: Array) -> Array:
        own = leaf.reshape(-1, *leaf.shape[2:])[:each]
        return own if axis is None else jax.lax.all_gather(own, axis, tiled=True)[:count]

    return jax.tree.map(whole, stacked)


def sum_in_chunks(function: Callable[[Int[Array, ""]], Array], count: int, size: int) -> Array:
    """The sum of `function` over indices below `count`; only one chunk is held in memory."""
    axis = _AXIS.get()
    first, each = _own_indices(count, axis)
    chunks = _chunks(each, size)
    place = jnp.arange(chunks.size).reshape(chunks.shape)
    counted = (place < each) & (first + place < count)
    with shared_over(None):
        one = jax.eval_shape(function, chunks[0, 0])

        def add(total: Array, chunk: tuple[Array, Array]) -> tuple[Array, None]:
            indices, counted = chunk
            return total + jnp.tensordot(counted.astype(one.dtype), jax.vmap(function)(indices), axes=1), None

        indices = jnp.minimum(first + chunks, count - 1)
        total, _ = jax.lax.scan(add, jnp.zeros(one.shape, one.dtype), (indices, counted))
    return total if axis is None else jax.lax.psum(total, axis)
