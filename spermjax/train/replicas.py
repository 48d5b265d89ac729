"""Whether all devices hold the same state: a fault of memory or of a collective shows in no loss curve."""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, UInt32


def checksum(leaves: Sequence[Array]) -> UInt32[Array, ""]:
    """A sum over the bits of arrays, modulo 2**32, that every single bit and its place enter."""
    total = jnp.zeros((), jnp.uint32)
    for leaf in leaves:
        width = {1: jnp.uint8, 2: jnp.uint16}.get(leaf.dtype.itemsize, jnp.uint32)
        plain = leaf.astype(jnp.uint8) if leaf.dtype == jnp.bool_ else leaf
        bits = jax.lax.bitcast_convert_type(plain, width).ravel().astype(jnp.uint32)
        # The highest bit times an odd number is the same at every place: let it count lower down too.
        bits ^= bits >> 16
        # Odd factors: no bit is lost, and no two places are alike.
        places = 2 * jax.lax.iota(jnp.uint32, bits.size) + 1
        total = 31 * total + (bits * places).sum(dtype=jnp.uint32)
    return total


def replica_difference(tree: Any) -> int:
    """How many devices hold another copy of a replicated tree than most do; 0 is as it should be.

    Args:
        tree: arrays; those that are not whole on several devices are left out.
    """
    leaves = [leaf for leaf in jax.tree.leaves(tree) if leaf.is_fully_replicated and len(leaf.sharding.device_set) > 1]
    if not leaves:
        return 0
    sums = np.asarray(_on_each_device(leaves[0].sharding.mesh)(leaves)).ravel().tolist()
    return len(sums) - Counter(sums).most_common(1)[0][1]


@functools.cache
def _on_each_device(mesh: Mesh) -> Callable[..., Array]:
    def gathered(leaves: Sequence[Array]) -> Array:
        return jax.lax.all_gather(checksum(leaves), mesh.axis_names)

    # The check that values are replicated is what is asked here, not what may be assumed.
    return jax.jit(
        jax.shard_map(gathered, mesh=mesh, in_specs=PartitionSpec(), out_specs=PartitionSpec(), check_vma=False)
    )
