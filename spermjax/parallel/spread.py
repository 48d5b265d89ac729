"""Arrays on one process's devices, on all processes', and on the host."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from spermjax.parallel.step import AXIS

WHOLE = PartitionSpec()
"""Of what lies whole on every device."""


def mesh_of(devices: Sequence[jax.Device]) -> Mesh:
    """The devices in a row."""
    return Mesh(np.array(devices), (AXIS,))


def own(devices: Sequence[jax.Device]) -> list[jax.Device]:
    """Those of this process."""
    return [device for device in devices if device.process_index == jax.process_index()]


def one_of_each_process(devices: Sequence[jax.Device]) -> list[jax.Device]:
    """The first device of each process."""
    first = {device.process_index: device for device in reversed(devices)}
    return [device for device in devices if device is first[device.process_index]]


def share(size: int, devices: Sequence[jax.Device]) -> slice:
    """Which part of a batch this process's devices take, among all that share it."""
    each = size // len(devices)
    first = next(i for i, device in enumerate(devices) if device.process_index == jax.process_index())
    return slice(first * each, (first + len(own(devices))) * each)


def inward(tree: Any) -> Any:
    """Arrays that lie whole on all processes' devices, as arrays on this process's alone; nothing is copied."""

    def view(x: jax.Array) -> jax.Array:
        if x.is_fully_addressable:
            return x
        shards = x.addressable_shards
        return _whole(x.shape, [shard.data for shard in shards], [shard.device for shard in shards])

    return jax.tree.map(view, tree)


def outward(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Arrays that lie whole on each process's own devices, as arrays on all devices; nothing is copied."""

    def view(x: jax.Array) -> jax.Array:
        if not x.is_fully_addressable or len(own(devices)) == len(devices):
            return x
        return _whole(x.shape, [shard.data for shard in x.addressable_shards], devices)

    return jax.tree.map(view, tree)


def fetch(x: jax.Array | np.ndarray) -> np.ndarray:
    """A copy on the host of a whole array; one that lies in slices on several processes is gathered by all of them."""
    if isinstance(x, np.ndarray) or x.is_fully_addressable or x.is_fully_replicated:
        return np.array(x)
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))


def gathered(arrays: Any) -> Any:
    """Each process's arrays one after another along their leading axis, in the order of processes, in all of them."""
    return arrays if jax.process_count() == 1 else multihost_utils.process_allgather(arrays, tiled=True)


def of_first(tree: Any) -> Any:
    """Process 0's arrays in all processes, bit for bit; one array after another, so that memory is bounded.

    Args:
        tree: NumPy arrays; those of other processes give shape and type alone.
    """

    def sent(x: Any) -> np.ndarray:
        array = np.asarray(x)
        content = np.frombuffer(array.tobytes(), np.uint8)
        return np.asarray(multihost_utils.broadcast_one_to_all(content)).view(array.dtype).reshape(array.shape)

    return tree if jax.process_count() == 1 else jax.tree.map(sent, tree)


def _whole(shape: tuple[int, ...], pieces: Sequence[jax.Array], devices: Sequence[jax.Device]) -> jax.Array:
    return jax.make_array_from_single_device_arrays(shape, NamedSharding(mesh_of(devices), WHOLE), pieces)
