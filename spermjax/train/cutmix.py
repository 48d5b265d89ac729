"""CutMix (Yun et al. 2019) between neighbours in the batch; masks go with their pixels."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from spermjax.data.batch import Batch
from spermjax.train.mixup import draw_share, first_of_pair, partner_of


def cutmix(
    keys: Key[Array, "batch"],
    batch: Batch,
    soft: Float[Array, "batch outputs"],
    known: Bool[Array, "batch outputs"],
    alpha: float,
    chosen: Bool[Array, "batch"] | None = None,
) -> tuple[Batch, Float[Array, "batch outputs"], Bool[Array, "batch outputs"]]:
    """Pastes a rectangle of the example beside (0 with 1, 2 with 3, ...) at its own place.

    The rectangle has the image's shape and covers a share 1 - lambda, lambda ~
    Beta(alpha, alpha) on the side above one half as in `mixup`; its centre lies anywhere,
    and what reaches beyond the image is cut off. Labels are blended by the area that
    was pasted.

    Args:
        keys: one key per example; the first of a pair draws for both.
        batch: examples.
        soft: probability wanted of each output.
        known: which of them count.
        alpha: both parameters of the Beta distribution.
        chosen: pairs that are mixed, equal within a pair; all by default.

    Returns:
        The batch with pasted images and masks, and blended probabilities. An example has
        masks if both it and its neighbour have; an output counts if it is known for both.
    """
    partner, own_keys = partner_of(batch), first_of_pair(keys)
    height, width = batch.image.shape[1:3]
    shrink = jnp.sqrt(1.0 - draw_share(own_keys, alpha))
    centre = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 1), (2,)))(own_keys)
    # Padding has nothing to lend.
    lends = batch.weight[partner] > 0
    if chosen is not None:
        lends &= chosen
    rows = _covered(centre[:, 0], shrink, height) & lends[:, None]
    columns = _covered(centre[:, 1], shrink, width)
    inside = rows[:, :, None] & columns[:, None, :]
    pasted = inside.mean((1, 2))
    other = pasted > 0

    def blend(x: Float[Array, "batch outputs"]) -> Float[Array, "batch outputs"]:
        return (1.0 - pasted[:, None]) * x + pasted[:, None] * x[partner]

    mixed = dataclasses.replace(
        batch,
        image=jnp.where(inside[..., None], batch.image[partner], batch.image),
        parts=jnp.where(inside[..., None], batch.parts[partner], batch.parts),
        has_parts=batch.has_parts & (batch.has_parts[partner] | ~other),
    )
    return mixed, blend(soft), known & (known[partner] | ~other[:, None])


def _covered(centre: Float[Array, "batch"], share: Float[Array, "batch"], length: int) -> Bool[Array, "batch length"]:
    """The pixels of a row or column that an interval covers; centre and length as shares of it."""
    at = (jnp.arange(length) + 0.5) / length
    return jnp.abs(at - centre[:, None]) < share[:, None] / 2
