"""Whether a map stays as it is where the image hardly changes, and moves as the image does.

These explain again, so they take `explain`: a function `(variables, images, targets,
parts) -> [batch, height, width]` of one method.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from spermjax.errors import ConfigError
from spermjax.interpret.metrics.metric import Metric, register
from spermjax.interpret.metrics.similarity import pearson
from spermjax.interpret.model import Variables

Explain = Callable[..., Float[Array, "batch height width"]]

NOISES = 8
NOISE_RADIUS = 0.02


def relative_change(
    original: Float[Array, "batch *map"], changed: Float[Array, "perturbations batch *map"]
) -> Float[Array, "perturbations batch"]:
    """Length of the change of a map over the length of the map; NaN for a map of zeros."""
    flat = original.reshape(len(original), -1)
    length = jnp.linalg.norm(flat, axis=-1)
    change = jnp.linalg.norm(changed.reshape(len(changed), *flat.shape) - flat, axis=-1)
    return change / jnp.where(length > 0, length, jnp.nan)


def max_sensitivity(
    explain: Explain,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    parts: Bool[Array, "batch height width parts"],
    index: Int[Array, "batch"],
    *,
    noises: int = NOISES,
    radius: float = NOISE_RADIUS,
) -> Float[Array, "batch"]:
    """The greatest relative change of the map under small noise (Yeh et al. 2019, definition 3.1).

    Args:
        explain: the method.
        variables: the model's parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit, per example.
        parts: part masks.
        index: the example's number in its data set, which draws its noise.
        noises: number of noisy images.
        radius: the noise is uniform within this of each intensity.
    """
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(2), index)

    def noisy(step: Int[Array, ""]) -> Float[Array, "batch height width"]:
        now = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, step)
        noise = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:], minval=-radius, maxval=radius))(now)
        return explain(variables, images + noise, targets, parts)

    original = explain(variables, images, targets, parts)
    return relative_change(original, jax.lax.map(noisy, jnp.arange(noises))).max(0)


def _flip_columns(values: Any) -> Any:
    return jnp.flip(values, axis=2)


def _flip_rows(values: Any) -> Any:
    return jnp.flip(values, axis=1)


def _turn(quarters: int) -> Callable[[Any], Any]:
    return lambda values: jnp.rot90(values, quarters, axes=(1, 2))


def equivariance(
    explain: Explain,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    parts: Bool[Array, "batch height width parts"],
    *,
    transforms: tuple[Callable[[Any], Any], ...],
) -> Float[Array, "batch"]:
    """Correlation of the moved image's map with the map moved alike, mean over moves (Crabbé & van der Schaar 2023).

    A model that tells left from right need not be equivariant, and then neither is a
    true explanation: compare methods on one model.

    Args:
        explain: the method.
        variables: the model's parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit, per example; the same for the moved image.
        parts: part masks, moved with the image.
        transforms: moves of arrays `[batch, height, width, ...]`.

    Returns:
        From -1 to 1; NaN for a constant map.
    """
    original = explain(variables, images, targets, parts)
    flat = lambda maps: maps.reshape(len(maps), -1)  # noqa: E731
    return jnp.stack(
        [
            pearson(flat(move(original)), flat(explain(variables, move(images), targets, move(parts))))
            for move in transforms
        ]
    ).mean(0)


def flip_equivariance(**arguments: Any) -> Float[Array, "batch"]:
    """`equivariance` under the two flips."""
    return equivariance(transforms=(_flip_columns, _flip_rows), **arguments)


def rotation_equivariance(*, images: Float[Array, "batch height width 3"], **arguments: Any) -> Float[Array, "batch"]:
    """`equivariance` under the three turns of a square image.

    Raises:
        ConfigError: images aren't square.
    """
    if images.shape[1] != images.shape[2]:
        raise ConfigError(
            f"rotation_equivariance turns images by 90 degrees, and these have {images.shape[1]} x {images.shape[2]} "
            "pixels; crop them to squares or leave the metric out."
        )
    return equivariance(images=images, transforms=tuple(_turn(quarters) for quarters in (1, 2, 3)), **arguments)


NEEDS = frozenset({"explain", "variables", "images", "targets", "parts"})

register(Metric("max_sensitivity", max_sensitivity, NEEDS | {"index"}, "lower", "Yeh et al. 2019", standard=False))
for _function in (flip_equivariance, rotation_equivariance):
    register(Metric(_function.__name__, _function, NEEDS, "higher", "Crabbé & van der Schaar 2023", standard=False))
