"""ROAD: pixels are removed by imputation, so the shape of the hole tells the model nothing (Rong et al. 2022)."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from spermjax.interpret.chunks import map_in_chunks, steps_at_once
from spermjax.interpret.metrics.imputation import impute
from spermjax.interpret.metrics.metric import Metric, register
from spermjax.interpret.model import Variables, select

PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90)


def kept_below(
    map: Float[Array, "batch height width"], percentile: Int[Array, ""]
) -> Bool[Array, "batch height width"]:
    """Pixels below a percentile of the map: percentile p keeps p % and removes the rest.

    As many as an interpolated percentile of distinct values leaves below; ties go in the
    order of pixels.
    """
    flat = map.reshape(len(map), -1)
    rank = jnp.argsort(jnp.argsort(flat, axis=1, stable=True), axis=1)
    count = jnp.ceil(percentile * (flat.shape[1] - 1) / 100).astype(jnp.int32)
    return (rank < count).reshape(map.shape)


def road(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    map: Float[Array, "batch height width"],
    *,
    percentiles: tuple[int, ...] = PERCENTILES,
    chunk: int = 64,
) -> Float[Array, "batch"]:
    """Half the mean difference between removing the least and the most relevant pixels, in logits.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit, per example.
        map: the explanation.
        percentiles: at each p the highest, or the lowest, 100 - p % are removed.
        chunk: images in one forward pass.

    Returns:
        Higher where the map is right; NaN where it isn't finite.
    """
    steps = jnp.asarray([sign * p for p in percentiles for sign in (1, -1)])

    def after(step: Int[Array, ""]) -> Float[Array, "batch"]:
        known = kept_below(map * jnp.sign(steps[step]), jnp.abs(steps[step]))
        return select(model.apply(variables, impute(images, known)), targets)

    scores = map_in_chunks(after, len(steps), steps_at_once(len(images), chunk)).reshape(-1, 2, len(images))
    value = (scores[:, 1] - scores[:, 0]).mean(0) / 2
    return jnp.where(jnp.isfinite(map).all((1, 2)), value, jnp.nan)


register(
    Metric(
        "road",
        road,
        frozenset({"model", "variables", "images", "targets", "map", "chunk"}),
        "higher",
        "Rong et al. 2022",
        standard=False,
    )
)
