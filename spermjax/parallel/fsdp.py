"""Fully sharded data parallelism (Zhao et al. 2023; Rajbhandari et al. 2020, stage 3).

Every device keeps a slice of each large parameter and of its optimiser state. The loss
begins by gathering the parameters; the derivative of that is a sum over devices which
leaves each with its own slice of the gradient, so nothing else of a step need know.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from spermjax.parallel.step import AXIS

SMALL = 1024
"""Elements below which an array stays whole: a message of its own would cost more than it saves."""


def spec_of(shape: tuple[int, ...], devices: int) -> PartitionSpec:
    """How an array is sliced: along its longest axis that the devices divide, or not at all."""
    divided = [axis for axis, size in enumerate(shape) if size % devices == 0]
    if devices == 1 or not divided or math.prod(shape) < SMALL:
        return PartitionSpec()
    longest = max(divided, key=lambda axis: shape[axis])
    return PartitionSpec(*(None,) * longest, AXIS)


def gather(shards: Any, specs: Any) -> Any:
    """Whole parameters from this device's slices, under a map over `AXIS`."""

    def whole(x: jax.Array, spec: PartitionSpec) -> jax.Array:
        if not spec:
            return x
        return jax.lax.all_gather(x, AXIS, axis=len(spec) - 1, tiled=True)

    return jax.tree.map(whole, shards, specs)


def gathered_again(function: Callable) -> Callable:
    """The function, gathering parameters anew in the backward pass instead of keeping them whole until then.

    Nor are they kept in another shape or type.
    """

    def kept(primitive: Any, *_: Any, **__: Any) -> bool:
        return primitive.name not in ("all_gather", "reshape", "convert_element_type")

    return jax.checkpoint(function, policy=kept)


def sum_whole(gradients: Any, specs: Any) -> Any:
    """Sums over devices the gradients of what lies whole on each; slices are sums already."""
    leaves, structure = jax.tree.flatten(gradients)
    sliced = [bool(spec) for spec in jax.tree.leaves(specs)]
    sums = iter(jax.lax.psum([g for g, part in zip(leaves, sliced, strict=True) if not part], AXIS))
    return structure.unflatten([g if part else next(sums) for g, part in zip(leaves, sliced, strict=True)])


def norm(tree: Any, specs: Any) -> Float[Array, ""]:
    """Euclidean norm of a tree of slices and whole arrays, the same on every device."""
    own = whole = jnp.zeros(())
    for x, spec in zip(jax.tree.leaves(tree), jax.tree.leaves(specs), strict=True):
        square = jnp.square(x).sum()
        own, whole = (own + square, whole) if spec else (own, whole + square)
    return jnp.sqrt(jax.lax.psum(own, AXIS) + whole)
