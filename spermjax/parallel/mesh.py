"""jit over a mesh of devices, the batch split along its axis `data`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from spermjax.parallel.spread import WHOLE, mesh_of, own
from spermjax.parallel.step import AXIS, Step, agreeing


def place(tree: Any, devices: Sequence[jax.Device], specs: Any = WHOLE) -> Any:
    """Arrays on a mesh; on many hosts each gives the same values and keeps its own devices' part.

    Args:
        tree: arrays, whole.
        devices: of the mesh.
        specs: a PartitionSpec for each array, or one for all.
    """
    mesh = mesh_of(devices)
    if isinstance(specs, PartitionSpec):
        specs = jax.tree.map(lambda _: specs, tree)

    def put(x: Any, spec: PartitionSpec) -> jax.Array:
        whole = np.asarray(x)
        return jax.make_array_from_callback(whole.shape, NamedSharding(mesh, spec), lambda index: whole[index])

    return jax.tree.map(put, tree, specs)


def unslice(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Arrays of a mesh whole on each of its devices."""
    return jax.device_put(tree, NamedSharding(mesh_of(devices), WHOLE))


def mesh_step(step: Callable, devices: Sequence[jax.Device], *resident: Any, specs: Any = WHOLE) -> Step:
    """Maps a training step `(state, batch, *resident) -> (state, metrics)` over a mesh, donating the state.

    The step is the one that `pmap_step` takes: it sees its device's share and reduces over
    `AXIS` whatever it returns, but for those parts of the state that lie in shards.

    Args:
        step: the step on one device.
        devices: of the mesh.
        *resident: trees that each call gets whole; they are placed on the devices once.
        specs: PartitionSpecs of the state, in its structure, or one for all.
    """
    local = len(own(devices))
    several = local < len(devices)
    mapped = jax.shard_map(
        agreeing(step) if several else step,
        mesh=mesh_of(devices),
        in_specs=(specs, PartitionSpec(AXIS), *(WHOLE for _ in resident)),
        out_specs=(specs, WHOLE),
        # With the check, a sum over the axis would be differentiated to a multiple of what pmap's is.
        check_vma=False,
    )
    over = NamedSharding(mesh_of(devices), PartitionSpec(AXIS))

    def split(batch: Any) -> Any:
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(over, np.asarray(x)), batch)

    return Step(jax.jit(mapped, donate_argnums=0), split, place(resident, devices), local if several else 0)
