"""What a training step sends over the network, on paper."""

import math
from typing import Any

import jax


def traffic(params: Any, specs: Any, devices: int) -> dict[str, float]:
    """Bytes that each device sends, and receives, in a step, by collective.

    Over a ring of n devices an all-reduce of B bytes sends 2 (n - 1) / n B from each, an
    all-gather or a reduce-scatter (n - 1) / n B (Patarasuk & Yuan 2009). Slices of
    parameters are gathered twice, for the forward and the backward pass; a compiler that
    keeps them saves one. Sums of single numbers and batch statistics are left out.

    Args:
        params: arrays, or their shapes, whole.
        specs: how each is sliced (see `fsdp.spec_of`), or None where all lie whole on every device.
        devices: n.
    """
    leaves = jax.tree.leaves(params)
    sliced = [False] * len(leaves) if specs is None else [bool(spec) for spec in jax.tree.leaves(specs)]
    size = {True: 0, False: 0}
    for leaf, part in zip(leaves, sliced, strict=True):
        size[part] += math.prod(leaf.shape) * leaf.dtype.itemsize
    ring = (devices - 1) / devices
    return {
        "all_reduce": 2 * ring * size[False],
        "all_gather": 2 * ring * size[True],
        "reduce_scatter": ring * size[True],
    }
