"""A map as a ranking of pixels, against a mask; tied pixels share their rank.

A value of the map that isn't finite makes these NaN.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from spermjax.interpret.metrics.metric import Metric, register
from spermjax.interpret.metrics.order import below, up_to


def auroc(map: Float[Array, "height width"], mask: Bool[Array, "height width"]) -> Float[Array, ""]:
    """Area under the ROC curve: the chance that a mask pixel outranks another one.

    Ties count one half (Hanley & McNeil 1982). NaN for an empty and for a full mask.
    """
    inside = mask.reshape(-1)
    positives = inside.sum()
    negatives = inside.size - positives
    midranks = (below(map) + up_to(map) + 1) / 2
    # Mean ranks keep the numbers small enough for float32.
    mean_rank = jnp.where(inside, midranks, 0.0).sum() / jnp.maximum(positives, 1)
    area = (mean_rank - (positives + 1) / 2) / jnp.maximum(negatives, 1)
    return jnp.where((positives > 0) & (negatives > 0) & jnp.isfinite(map).all(), area, jnp.nan)


def average_precision(map: Float[Array, "height width"], mask: Bool[Array, "height width"]) -> Float[Array, ""]:
    """Mean over mask pixels of the precision at that pixel's value, without interpolation.

    All pixels of one value are taken together. NaN for an empty mask.
    """
    inside, less = mask.reshape(-1), below(map)
    taken = inside.size - less
    hits_at = jnp.zeros(inside.size, jnp.int32).at[less].add(inside.astype(jnp.int32))
    hits = jax.lax.cumsum(hits_at, reverse=True)[less]
    positives = inside.sum()
    precision = jnp.where(inside, hits / taken, 0.0).sum() / jnp.maximum(positives, 1)
    return jnp.where((positives > 0) & jnp.isfinite(map).all(), precision, jnp.nan)


for _function, _citation in ((auroc, "Hanley & McNeil 1982"), (average_precision, "Salton & McGill 1983")):
    register(Metric(_function.__name__, jax.vmap(_function), frozenset({"map", "mask"}), "higher", _citation))
