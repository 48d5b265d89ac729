"""From a split to batches: grain gives the order, the split is already decoded.

A split that fits lies whole on each device, and a step is sent the places of its
examples; a larger one stays on the host, and grain gathers batches ahead of the step.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import grain
import jax
import numpy as np

from spermjax.data.batch import BatchIndex, PackedBatch
from spermjax.data.examples import Examples
from spermjax.data.sampling import balanced, shuffled

_RESIDENT_BYTES = 1 << 30
"""What examples may take of the host's memory, over all of its virtual devices."""
_RESIDENT_SHARE = 0.25
"""What examples may take of an accelerator's own memory."""


def whole(examples: Examples) -> PackedBatch:
    """A split as one batch, each example once and in order."""
    return PackedBatch(
        image=examples.image,
        parts=examples.parts,
        has_parts=examples.has_parts,
        label=examples.label,
        weight=np.ones(len(examples), np.float32),
        index=np.arange(len(examples), dtype=np.int32),
    )


def gather(examples: Examples | PackedBatch, index: np.ndarray | jax.Array) -> PackedBatch:
    """The batch of the examples at `index`; -1 is padding and weighs nothing.

    Args:
        examples: a split on the host, or `whole` of it on a device, under `jit`.
        index: places in it, of the same kind of array.
    """
    real = index >= 0
    at = index * real
    return PackedBatch(
        image=examples.image[at],
        parts=examples.parts[at],
        has_parts=examples.has_parts[at] & real,
        label=examples.label[at],
        weight=real.astype(np.float32),
        index=index.astype(np.int32),
    )


def fits_on_device(examples: Examples, devices: Sequence[jax.Device]) -> bool:
    """Whether a split can lie whole on each of the devices, and leave them room to work."""
    size = sum(array.nbytes for array in jax.tree.leaves(whole(examples)))
    memory = [device.memory_stats() for device in devices]
    if all(memory):
        return size <= _RESIDENT_SHARE * min(stats["bytes_limit"] for stats in memory)
    return size * len(devices) <= _RESIDENT_BYTES


def training_batches(
    examples: Examples,
    batch_size: int,
    seed: int,
    *,
    sampling: Literal["shuffled", "balanced"] = "shuffled",
    yields: Literal["batch", "index"] = "batch",
    share: slice = slice(None),
) -> grain.DatasetIterator:
    """Endless shuffled batches whose state can be stored and restored.

    Epochs follow each other without a gap: a batch may span two, so none is short and no
    example is dropped.

    Args:
        examples: the training split.
        batch_size: examples in a batch, over all devices.
        seed: of the order; each epoch has its own.
        sampling: each example once an epoch, or each class equally often (`sampling.balanced`).
        yields: the examples themselves, or their places for a step that has them. The
            order is the same, and so is the state.
        share: places in each batch that this process takes; the order is that of one process.

    Returns:
        An iterator of `PackedBatch` or `BatchIndex` with `get_state` and `set_state` (JSON-able).
    """
    if sampling == "balanced":
        order = balanced(examples.label, batch_size, seed)
    else:
        order = shuffled(len(examples), batch_size, seed)

    def batch(index: Any) -> PackedBatch | BatchIndex:
        places = np.asarray(index, np.int32)[share]
        return gather(examples, places) if yields == "batch" else BatchIndex(places)

    return iter(order.map(batch).to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)))


def padded_batches(examples: Examples, batch_size: int) -> Iterator[PackedBatch]:
    """Every example exactly once, in order; the last batch is padded to full size."""
    for start in range(0, len(examples), batch_size):
        index = np.arange(start, start + batch_size)
        yield gather(examples, np.where(index < len(examples), index, -1))
