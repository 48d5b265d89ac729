"""What is left of the target's probability when an image is shown only as far as a map rates it.

Chattopadhyay et al. (2018, section 4.1): the image is multiplied by the map, and a good
map keeps what the model needs. A map that is high everywhere keeps everything, so these
say little without a measure of how much a map asks one to look at.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spermjax.data.task import Kind
from spermjax.interpret.metrics.metric import Metric, register
from spermjax.interpret.metrics.overlap import scaled
from spermjax.interpret.model import Variables, probability

GREY = 0.5


def shown(
    images: Float[Array, "batch height width 3"], map: Float[Array, "batch height width"], *, baseline: float = GREY
) -> Float[Array, "batch height width 3"]:
    """Images that fade to `baseline` where the map, scaled from 0 to 1, is low; NaN for a constant map."""
    return baseline + (images - baseline) * jax.vmap(scaled)(map)[..., None]


def _before_and_after(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    map: Float[Array, "batch height width"],
    kind: Kind = "single_label",
    baseline: float = GREY,
) -> tuple[Float[Array, "batch"], Float[Array, "batch"]]:
    faded = shown(images, map, baseline=baseline)
    after = probability(model.apply(variables, faded), targets, kind)
    defined = jnp.isfinite(faded).all((1, 2, 3))
    return probability(model.apply(variables, images), targets, kind), jnp.where(defined, after, jnp.nan)


def fall(before: Float[Array, "*batch"], after: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """By how much a score falls; zero where it rises."""
    return jnp.maximum(before - after, 0.0)


def rises(before: Float[Array, "*batch"], after: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """1 where a score rises, else 0; NaN where there is none."""
    return jnp.where(jnp.isnan(after), jnp.nan, after > before)


def drop_in_confidence(**arguments: Any) -> Float[Array, "batch"]:
    """Share of the target's probability that is lost (Chattopadhyay et al. 2018, average drop).

    Takes `model`, `variables`, `images` in [0, 1], `targets`, a pixel `map`, and as
    options the task's `kind` and the `baseline` intensity.

    Returns:
        From 0, nothing is lost or the probability rises, to 1; NaN for a constant map,
        or one that isn't finite.
    """
    before, after = _before_and_after(**arguments)
    return fall(before, after) / before


def increase_in_confidence(**arguments: Any) -> Float[Array, "batch"]:
    """1 where the target's probability rises, else 0; arguments and NaN as for `drop_in_confidence`."""
    return rises(*_before_and_after(**arguments))


NEEDS = frozenset({"model", "variables", "images", "targets", "map", "kind"})
CITATION = "Chattopadhyay et al. 2018"

register(Metric("drop_in_confidence", drop_in_confidence, NEEDS, "lower", CITATION, standard=False))
register(Metric("increase_in_confidence", increase_in_confidence, NEEDS, "higher", CITATION, standard=False))
