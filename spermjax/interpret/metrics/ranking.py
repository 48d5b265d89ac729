"""A map as a ranking of pixels, against a mask; tied pixels share their rank.

A value of the map that isn't finite makes these NaN.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from spermjax.interpret.metrics.metric import Metric, register
from spermjax.interpret.metrics.order import ranking


def auroc(map: Float[Array, "height width"], mask: Bool[Array, "height width"]) -> Float[Array, ""]:
    """Area under the ROC curve: the chance that a mask pixel outranks another one.

    Ties count one half (Hanley & McNeil 1982). NaN for an empty and for a full mask.
    """
    ranked = ranking(map, mask)
    positives = mask.sum()
    negatives = mask.size - positives
    # A tied pixel's rank is the mean of theirs. Ranks are shared out before they are summed,
    # since their sum would be too large for float32.
    ranks = (ranked.lower + ranked.number + 1) / 2 / jnp.maximum(positives, 1)
    area = ((ranked.tied_inside * ranks).sum() - (positives + 1) / 2) / jnp.maximum(negatives, 1)
    return jnp.where((positives > 0) & (negatives > 0) & jnp.isfinite(map).all(), area, jnp.nan)


def average_precision(map: Float[Array, "height width"], mask: Bool[Array, "height width"]) -> Float[Array, ""]:
    """Mean over mask pixels of the precision at that pixel's value, without interpolation.

    All pixels of one value are taken together. NaN for an empty mask.
    """
    ranked = ranking(map, mask)
    positives = mask.sum()
    precision = (positives - ranked.lower_inside) / (mask.size - ranked.lower)
    precision = (ranked.tied_inside * precision).sum() / jnp.maximum(positives, 1)
    return jnp.where((positives > 0) & jnp.isfinite(map).all(), precision, jnp.nan)


for _function, _citation in ((auroc, "Hanley & McNeil 1982"), (average_precision, "Salton & McGill 1983")):
    register(Metric(_function.__name__, jax.vmap(_function), frozenset({"map", "mask"}), "higher", _citation))
