"""What stands where a part of the image is taken away, and the logits without it.

By default a patch's token is left out (Jain et al. 2022): painting pixels over makes
images that the model has never seen, and the score then falls for patches that do not
matter.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from spermjax.errors import ConfigError
from spermjax.interpret.grid import paint_patches, plane
from spermjax.interpret.metrics.imputation import dilate, impute
from spermjax.interpret.model import Variables

Paint = Literal["mean", "blur", "background"] | float
Replacement = Literal["remove"] | Paint

PAINTS: dict[str, Paint] = {"mean": "mean", "blur": "blur", "zero": 0.0, "background": "background"}
"""Variants of a metric that are registered under its name and a suffix."""

BLUR_SIZE_PX = 11
BLUR_SIGMA_PX = 5.0


def blur(images: Float[Array, "batch height width 3"]) -> Float[Array, "batch height width 3"]:
    """A Gaussian blur of 11 px and sigma 5 px, border pixels repeated outwards."""

    def matrix(length: int) -> Float[np.ndarray, "length length"]:
        reach = np.arange(BLUR_SIZE_PX) - BLUR_SIZE_PX // 2
        kernel = np.exp(-(reach**2) / (2 * BLUR_SIGMA_PX**2))
        out = np.zeros((length, length), np.float32)
        sources = np.clip(np.arange(length)[:, None] + reach, 0, length - 1)
        np.add.at(out, (np.arange(length)[:, None], sources), kernel / kernel.sum())
        return out

    return jnp.einsum("yh,xw,bhwc->byxc", matrix(images.shape[1]), matrix(images.shape[2]), images)


def background(
    images: Float[Array, "batch height width 3"], parts: Bool[Array, "batch height width parts"]
) -> Float[Array, "batch height width 3"]:
    """The image with the cell, and the pixel around it, in-painted from the background.

    NaN for an example that shows no part, of which nobody knows where the cell is.
    """
    cell = parts.any(-1)
    clean = impute(images, ~dilate(cell))
    return jnp.where(cell.any((1, 2))[:, None, None, None], clean, jnp.nan)


def fill(
    images: Float[Array, "batch height width 3"],
    paint: Paint,
    parts: Bool[Array, "batch height width parts"] | None = None,
) -> Float[Array, "batch height width 3"]:
    """What stands where a patch is painted over.

    Args:
        images: intensities in [0, 1].
        paint: each image's `mean` colour, its `blur`, its `background` without the cell,
            or one intensity.
        parts: masks, for `background`.

    Raises:
        ConfigError: `background` without masks.
    """
    if paint == "mean":
        return jnp.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)
    if paint == "blur":
        return blur(images)
    if paint == "background":
        if parts is None:
            raise ConfigError("The background can be in-painted only where part masks say where the cell is.")
        return background(images, parts)
    return jnp.full_like(images, paint)


def keeping(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    grid: tuple[int, int],
    replacement: Replacement | Float[Array, "batch height width 3"],
    parts: Bool[Array, "batch height width parts"] | None = None,
) -> Callable[[Bool[Array, "batch patches"]], Float[Array, "batch outputs"]]:
    """A function from the patches that are kept to the logits.

    Args:
        model: for `remove` its `apply` takes a `token_mask`.
        variables: its parameters and state.
        images: intensities in [0, 1].
        grid: rows and columns of patches; a pixel may be one.
        replacement: `remove` leaves tokens out, the others paint pixels (see `fill`), or
            images of one's own to show instead.
        parts: masks, for `background`.
    """
    if isinstance(replacement, str) and replacement == "remove":
        return lambda keep: model.apply(variables, images, token_mask=keep)
    paint = replacement if isinstance(replacement, jnp.ndarray) else fill(images, replacement, parts)

    def painted(keep: Bool[Array, "batch patches"]) -> Float[Array, "batch outputs"]:
        shown = paint_patches(keep, grid, plane(images))
        return model.apply(variables, jnp.where(shown[..., None], images, paint))

    return painted
