"""Which mixture of neighbours a batch is trained on, if any."""

import jax
from jaxtyping import Array, Bool, Float, Int

from spermjax.config import Loss
from spermjax.data.batch import Batch
from spermjax.train.cutmix import cutmix
from spermjax.train.keys import named, per_example
from spermjax.train.mixup import first_of_pair, mixup


def mix(
    key: jax.Array,
    slots: Int[Array, "batch"],
    batch: Batch,
    soft: Float[Array, "batch outputs"],
    known: Bool[Array, "batch outputs"],
    config: Loss,
) -> tuple[Batch, Float[Array, "batch outputs"], Bool[Array, "batch outputs"]]:
    """MixUp, CutMix, or for each pair one of them by the toss of a coin where both are asked for.

    Args:
        key: of the step.
        slots: place of each example in the global batch.
        batch: examples.
        soft: probability wanted of each output.
        known: which of them count.
        config: alpha of each, or 0 for none.

    Returns:
        Batch, probabilities and what counts, mixed.
    """
    blended = pasted = None
    if config.mixup > 0 and config.cutmix > 0:
        own_keys = first_of_pair(per_example(named(key, "mixing"), slots))
        blended = jax.vmap(jax.random.bernoulli)(own_keys)
        pasted = ~blended
    if config.mixup > 0:
        keys = per_example(named(key, "mixup"), slots)
        batch, soft, known = mixup(keys, batch, soft, known, config.mixup, blended)
    if config.cutmix > 0:
        keys = per_example(named(key, "cutmix"), slots)
        batch, soft, known = cutmix(keys, batch, soft, known, config.cutmix, pasted)
    return batch, soft, known
