"""What each part is worth to the model: taken away, and shown alone (DeYoung et al. 2020, on parts).

These measure the model, not an explanation. A part is taken away by in-painting it from
around, and shown alone on the background in-painted where the rest of the cell was, so
no grey square tells the model that something is missing.
"""

from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from spermjax.data.task import Kind
from spermjax.interpret.chunks import map_in_chunks, steps_at_once
from spermjax.interpret.metrics.imputation import dilate, impute
from spermjax.interpret.metrics.metric import Metric, register
from spermjax.interpret.metrics.removal import background
from spermjax.interpret.model import Variables, probability


def _fall(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    regions: Bool[Array, "batch height width regions"],
    parts: Bool[Array, "batch height width parts"],
    *,
    keep: Literal["rest", "region"],
    kind: Kind,
    chunk: int,
) -> Float[Array, "batch regions"]:
    """By how much the target's probability falls without each region, or with it alone."""
    clean = background(images, parts) if keep == "region" else images

    def after(region: Int[Array, ""]) -> Float[Array, "batch"]:
        # One pixel around belongs to the region: its edge is blended with what lies beside it.
        mask = dilate(jnp.take(regions, region, axis=-1))
        shown = jnp.where(mask[..., None], images, clean) if keep == "region" else impute(images, ~mask)
        return probability(model.apply(variables, shown), targets, kind)

    left = map_in_chunks(after, regions.shape[-1], steps_at_once(len(images), chunk)).T
    fall = probability(model.apply(variables, images), targets, kind)[:, None] - left
    return jnp.where(regions.any((1, 2)), fall, jnp.nan)


def comprehensiveness(**arguments: Any) -> Float[Array, "batch regions"]:
    """Fall of the probability without a region: high where the model needs it. NaN where it isn't shown."""
    return _fall(keep="rest", **arguments)


def sufficiency(**arguments: Any) -> Float[Array, "batch regions"]:
    """Fall of the probability with a region alone: near zero where it is enough. NaN where it isn't shown."""
    return _fall(keep="region", **arguments)


for _function in (comprehensiveness, sufficiency):
    register(
        Metric(
            name=_function.__name__,
            function=_function,
            needs=frozenset({"model", "variables", "images", "targets", "regions", "parts", "kind", "chunk"}),
            better=None,
            citation="DeYoung et al. 2020",
            standard=False,
        )
    )
