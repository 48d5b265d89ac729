"""pmap over the local devices: the state whole on each, the batch split between them."""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from spermjax.data.batch import shard
from spermjax.errors import ConfigError
from spermjax.parallel.step import AXIS, Step


def choose_devices(wanted: int | None, batch_size: int, parts: int = 1) -> list[jax.Device]:
    """The local devices that share a batch.

    Args:
        wanted: how many, or None for the most that divide the batch.
        batch_size: examples in a step.
        parts: into which each device's share is cut (see `--optim.accumulate`).

    Raises:
        ConfigError: there are fewer, or they don't divide the batch.
    """
    local = jax.local_devices()
    if wanted is None:
        wanted = max((n for n in range(1, len(local) + 1) if batch_size % (n * parts) == 0), default=1)
    if not 1 <= wanted <= len(local):
        raise ConfigError(f"--parallel.devices {wanted}: this process has {len(local)}")
    if batch_size % (wanted * parts):
        cut = f" times --optim.accumulate {parts}" if parts > 1 else ""
        raise ConfigError(f"--parallel.devices {wanted}{cut} doesn't divide --schedule.batch-size {batch_size}")
    return local[:wanted]


def replicate(tree, devices: Sequence[jax.Device]):
    """Places a tree whole on every device, as `pmap_step` wants its state."""
    # Without a leading device axis: one compilation, and buffers that can be donated.
    return jax.device_put(tree, NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec()))


def pmap_step(step: Callable, devices: Sequence[jax.Device], *resident) -> Step:
    """Maps a training step `(state, batch, *resident) -> (state, metrics)`, donating the state.

    The step must reduce over `AXIS` whatever it returns. The mapped step takes a state
    and a batch with its global leading axis, and splits the batch.

    Args:
        step: the step on one device.
        devices: that share the batch.
        *resident: trees that each call gets whole; they are placed on the devices once.
    """
    in_axes = (None, 0, *(None for _ in resident))
    mapped = jax.pmap(step, axis_name=AXIS, in_axes=in_axes, out_axes=(None, None), donate_argnums=0, devices=devices)
    return Step(mapped, lambda batch: shard(batch, len(devices)), replicate(resident, devices))


def pmap_examples(function: Callable, devices: Sequence[jax.Device]) -> Callable:
    """Maps `function(variables, *arrays)`, which treats each example by itself, over examples.

    Returns:
        A function of the same signature whose arrays have a leading axis that the number
        of devices divides; its results are gathered in the same order.
    """
    mapped = jax.pmap(
        lambda variables, arrays: function(variables, *arrays), in_axes=(None, 0), out_axes=0, devices=devices
    )

    def run(variables, *arrays):
        out = mapped(variables, shard(arrays, len(devices)))
        return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), out)

    return run
