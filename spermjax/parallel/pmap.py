"""pmap over devices, of one process or several: the state whole on each, the batch split between them."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from spermjax.data.batch import shard
from spermjax.errors import ConfigError
from spermjax.kernels import OF_ONE_IMAGE
from spermjax.parallel.spread import WHOLE, gathered, mesh_of, own, share
from spermjax.parallel.step import AXIS, Step, agreeing


def choose_devices(
    wanted: int | None, batch_size: int, parts: int = 1, *, processes: int | None = None
) -> list[jax.Device]:
    """The devices that share a batch: equally many of each process, one process after another.

    Args:
        wanted: how many of each process, or None for the most that divide the batch.
        batch_size: examples in a step.
        parts: into which each device's share is cut (see `--optim.accumulate`).
        processes: all where not given; 1 for this process alone.

    Raises:
        ConfigError: there are fewer, or they don't divide the batch.
    """
    if processes == 1:
        local = [jax.local_devices()]
    else:
        local = [jax.local_devices(process_index=process) for process in range(jax.process_count())]
    fewest, count = min(map(len, local)), len(local)
    if wanted is None:
        wanted = max((n for n in range(1, fewest + 1) if batch_size % (n * count * parts) == 0), default=1)
    if not 1 <= wanted <= fewest:
        raise ConfigError(f"--parallel.devices {wanted}: {'this' if count == 1 else 'a'} process has {fewest}")
    if batch_size % (wanted * count * parts):
        cut = f" times {count} processes" if count > 1 else ""
        cut += f" times --optim.accumulate {parts}" if parts > 1 else ""
        raise ConfigError(f"--parallel.devices {wanted}{cut} doesn't divide --schedule.batch-size {batch_size}")
    return [device for devices in local for device in devices[:wanted]]


def replicate(tree, devices: Sequence[jax.Device]):
    """Places a tree whole on each of this process's devices, as `pmap_step` wants its state."""
    # Without a leading device axis: one compilation, and buffers that can be donated.
    return jax.device_put(tree, NamedSharding(mesh_of(own(devices)), WHOLE))


def pmap_step(step: Callable, devices: Sequence[jax.Device], *resident) -> Step:
    """Maps a training step `(state, batch, *resident) -> (state, metrics)`, donating the state.

    The step must reduce over `AXIS` whatever it returns. The mapped step takes a state
    and this process's share of a batch with its leading axis whole, and splits it.

    Args:
        step: the step on one device.
        devices: that share the batch.
        *resident: trees that each call gets whole; they are placed on the devices once.
    """
    in_axes = (None, 0, *(None for _ in resident))
    local = len(own(devices))
    several = local < len(devices)
    mapped = jax.pmap(
        agreeing(step) if several else step,
        axis_name=AXIS,
        in_axes=in_axes,
        out_axes=(None, None),
        donate_argnums=0,
        devices=devices,
    )
    return Step(mapped, lambda batch: shard(batch, local), replicate(resident, devices), local if several else 0)


def pmap_examples(function: Callable, devices: Sequence[jax.Device]) -> Callable:
    """Maps `function(variables, *arrays)`, which treats each example by itself, over examples.

    Of several processes each takes its share, and all get all results.

    Returns:
        A function of the same signature whose arrays have a leading axis that the number
        of devices divides; its results are gathered in the same order.
    """
    local = own(devices)
    mapped = jax.pmap(
        lambda variables, arrays: function(variables, *arrays), in_axes=(None, 0), out_axes=0, devices=local
    )

    def run(variables, *arrays):
        arrays = jax.tree.map(lambda x: x[share(len(x), devices)], arrays)
        out = jax.tree.map(
            lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), mapped(variables, shard(arrays, len(local)))
        )
        return out if len(local) == len(devices) else gathered(out)

    return run


def on_first(function: Callable, devices: Sequence[jax.Device]) -> Callable:
    """`function(variables, *arrays)` on this process's first device, one operation of which takes all cores of a CPU.

    Returns:
        A function of the same signature, whose results are NumPy arrays; the variables
        may lie on all devices (see `replicate`).
    """
    first = own(devices)[0]
    run = jax.jit(function, compiler_options=_options_of_one_image(first.platform))
    given: list[Any] = []
    there: list[Any] = []

    def on_it(x: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
        shards = x.addressable_shards if isinstance(x, jax.Array) else ()
        return next((shard.data for shard in shards if shard.device == first), x)

    def call(variables, *arrays):
        nonlocal given, there
        leaves, structure = jax.tree.flatten(variables)
        # Looked up again for other variables alone: a small model's takes as long as a thirtieth of its explanation.
        if len(leaves) != len(given) or any(a is not b for a, b in zip(leaves, given, strict=True)):
            given, there = leaves, [on_it(leaf) for leaf in leaves]
        return jax.tree.map(np.asarray, run(jax.tree.unflatten(structure, there), *arrays))

    return call


@functools.cache
def _options_of_one_image(platform: str) -> dict[str, str]:
    """A compiler that does not know YNNPACK needs no option."""
    if platform != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=OF_ONE_IMAGE).lower().compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return OF_ONE_IMAGE


def pmap_same(function: Callable, devices: Sequence[jax.Device]) -> Callable:
    """Maps `function(variables, *arrays)` over this process's devices, each of which is given all examples.

    The function shares the work over `AXIS` by itself and returns the same on every device.

    Returns:
        A function of the same signature, whose results are NumPy arrays.
    """
    mapped = jax.jit(
        jax.shard_map(function, mesh=mesh_of(own(devices)), in_specs=WHOLE, out_specs=WHOLE, check_vma=False)
    )
    return lambda variables, *arrays: jax.tree.map(np.asarray, mapped(variables, *arrays))
