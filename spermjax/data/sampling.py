"""In which order examples are drawn for training."""

import grain
import numpy as np
from jaxtyping import Int


def shuffled(count: int, batch_size: int, seed: int) -> grain.MapDataset:
    """Places of all examples, epoch after epoch, each epoch in an order of its own, in batches."""
    return grain.MapDataset.range(count).seed(seed).shuffle().repeat().batch(batch_size)


def balanced(label: Int[np.ndarray, "n *attributes"], batch_size: int, seed: int) -> grain.MapDataset:
    """Places drawn from every class alike, in batches (class-aware sampling, Shen et al. 2016, section 3.2).

    Classes take turns, each going through its own examples in an order that changes at
    every pass, so that within a class no example is drawn twice before another was once.
    Of attributes both sides of each take turns. Within a batch the order is random, for
    MixUp blends neighbours.

    Args:
        label: class of each example, or attributes with 0 normal, 1 abnormal, -1 missing.
        batch_size: examples in a batch.
        seed: of the order.
    """
    if label.ndim == 1:
        pools = [np.flatnonzero(label == value) for value in np.unique(label)]
    else:
        pools = [np.flatnonzero(column == side) for column in label.T for side in (0, 1)]
    seeds = np.random.SeedSequence(seed).generate_state(len(pools)).tolist()
    turns = [
        grain.MapDataset.source(pool.tolist()).seed(own).shuffle().repeat()
        for pool, own in zip(pools, seeds, strict=True)
        if len(pool)
    ]
    batches = grain.MapDataset.mix(turns).seed(seed).batch(batch_size)
    return batches.random_map(lambda places, rng: rng.permutation(places))
