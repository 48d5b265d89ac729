"""From a split to batches: grain gives the order, the split is already decoded."""

from collections.abc import Iterator

import grain
import numpy as np

from spermjax.data.batch import PackedBatch
from spermjax.data.examples import Examples


def gather(examples: Examples, index: np.ndarray) -> PackedBatch:
    """The batch of the examples at `index`; -1 is padding and weighs nothing."""
    real = index >= 0
    at = np.where(real, index, 0)
    return PackedBatch(
        image=examples.image[at],
        parts=examples.parts[at],
        has_parts=examples.has_parts[at] & real,
        label=examples.label[at],
        weight=real.astype(np.float32),
        index=index.astype(np.int32),
    )


def training_batches(examples: Examples, batch_size: int, seed: int) -> grain.DatasetIterator:
    """Endless shuffled batches whose state can be stored and restored.

    Epochs follow each other without a gap: a batch may span two, so none is short and no
    example is dropped.

    Args:
        examples: the training split.
        batch_size: examples in a batch, over all devices.
        seed: of the order; each epoch has its own.

    Returns:
        An iterator of `PackedBatch` with `get_state` and `set_state` (JSON-able).
    """
    order = grain.MapDataset.range(len(examples)).seed(seed).shuffle().repeat().batch(batch_size)
    batches = order.map(lambda index: gather(examples, np.asarray(index)))
    return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)))


def padded_batches(examples: Examples, batch_size: int) -> Iterator[PackedBatch]:
    """Every example exactly once, in order; the last batch is padded to full size."""
    for start in range(0, len(examples), batch_size):
        index = np.arange(start, start + batch_size)
        yield gather(examples, np.where(index < len(examples), index, -1))
