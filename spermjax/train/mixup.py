"""MixUp (Zhang et al. 2018) between neighbours in the batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Bool, Float, Int, Key

from spermjax.data.batch import Batch

QUANTILES = 4096
"""Resolution of lambda; a table compiles and runs faster than rejection sampling of a Beta distribution."""


def mixup(
    keys: Key[Array, "batch"],
    batch: Batch,
    soft: Float[Array, "batch outputs"],
    known: Bool[Array, "batch outputs"],
    alpha: float,
    chosen: Bool[Array, "batch"] | None = None,
) -> tuple[Batch, Float[Array, "batch outputs"], Bool[Array, "batch outputs"]]:
    """Blends each example with the one beside it (0 with 1, 2 with 3, ...).

    Pairs are neighbours, not a permutation of the batch, so that the result does not
    depend on how many devices share the batch. Order is shuffled anyway. The share
    lambda ~ Beta(alpha, alpha) is taken on the side above one half, which draws from
    the same set of mixtures, so that an example's masks remain those of the image
    that prevails.

    Args:
        keys: one key per example; the first of a pair draws its lambda.
        batch: examples.
        soft: probability wanted of each output.
        known: which of them count.
        alpha: both parameters of the Beta distribution.
        chosen: pairs that are blended, equal within a pair; all by default.

    Returns:
        The batch with blended images, and blended probabilities; an output counts if it
        is known for both.
    """
    partner = partner_of(batch)
    share = draw_share(first_of_pair(keys), alpha)
    # Padding has nothing to lend.
    share = jnp.where(batch.weight[partner] > 0, share, 1.0)
    if chosen is not None:
        share = jnp.where(chosen, share, 1.0)

    def blend(x: Float[Array, "batch ..."]) -> Float[Array, "batch ..."]:
        by_example = share.reshape(-1, *[1] * (x.ndim - 1))
        return by_example * x + (1.0 - by_example) * x[partner]

    counts = known[partner] if chosen is None else known[partner] | ~chosen[:, None]
    return dataclasses.replace(batch, image=blend(batch.image)), blend(soft), known & counts


def partner_of(batch: Batch) -> Int[Array, "batch"]:
    """The neighbour of each example; the last of an odd batch is its own."""
    size = len(batch.weight)
    return jnp.minimum(jnp.arange(size) ^ 1, size - 1)


def first_of_pair(keys: Key[Array, "batch"]) -> Key[Array, "batch"]:
    """For both examples of a pair the key of the first."""
    return keys[(jnp.arange(len(keys)) >> 1) << 1]


def draw_share(keys: Key[Array, "batch"], alpha: float) -> Float[Array, "batch"]:
    """Lambda ~ Beta(alpha, alpha), or 1 - lambda where that is more: the share that an example keeps."""
    quantile = jax.vmap(lambda key: jax.random.randint(key, (), 0, QUANTILES))(keys)
    table = scipy.stats.beta.ppf((np.arange(QUANTILES) + 0.5) / QUANTILES, alpha, alpha)
    return jnp.asarray(np.maximum(table, 1.0 - table), jnp.float32)[quantile]
