"""Random changes of images and their part masks, together, on the device.

Each example has its own key and nothing else is random, so an example is changed
alike in any batch and on any number of devices. What the configuration sets to zero
is not compiled, and costs nothing.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from spermjax.config import Augment
from spermjax.data.batch import Batch

_BLUR_REACH = 3.0  # Standard deviations that the window of the blur holds.

Image = Float[Array, "height width 3"]
Parts = Bool[Array, "height width parts"]


@partial(jax.jit, static_argnames=("config", "size"))
def augment(keys: Key[Array, "batch"], batch: Batch, config: Augment, size: int | None = None) -> Batch:
    """Flips, turns, scales and shifts images and masks, then changes the images' intensities.

    Args:
        keys: one for each example; two examples with the same key are changed alike.
        batch: images in [0, 1].
        config: the largest change of each kind; changes are drawn evenly up to it.
        size: side in pixels of the central square that is returned (default: all); what
            lies around it may move in.

    Returns:
        The batch with new images, in [0, 1], and new masks. What moved in from beyond
        the given images repeats their edge, and no part is said to be there.
    """
    size = size or batch.image.shape[1]
    image, parts = jax.vmap(lambda key, image, parts: _augment_one(key, image, parts, config, size))(
        keys, batch.image, batch.parts
    )
    return replace(batch, image=image, parts=parts)


def _augment_one(key: Key[Array, ""], image: Image, parts: Parts, config: Augment, size: int) -> tuple[Image, Parts]:
    draws_key, noise_key = jax.random.split(key)
    flip, turn, growth, x, y, light, spread, blur, noise = jax.random.uniform(draws_key, (9,), minval=-1.0)
    if config.flip:
        image, parts = jax.tree.map(lambda array: jnp.where(flip < 0.0, array[:, ::-1], array), (image, parts))
    if config.rotate or config.scale or config.shift:
        image, parts = warp(
            image,
            parts,
            angle=jnp.deg2rad(config.rotate * turn),
            scale=1.0 + config.scale * growth,
            shift=config.shift * size * jnp.stack([x, y]),
            size=size,
        )
    elif size != image.shape[0]:
        inner = slice((image.shape[0] - size) // 2, (image.shape[0] + size) // 2)
        image, parts = image[inner, inner], parts[inner, inner]
    if config.blur:
        image = gaussian_blur(image, config.blur * jnp.abs(blur), reach=int(np.ceil(_BLUR_REACH * config.blur)))
    if config.contrast:
        mean = image.mean()
        image = mean + (1.0 + config.contrast * spread) * (image - mean)
    if config.brightness:
        image = image + config.brightness * light
    if config.noise:
        image = image + config.noise * jnp.abs(noise) * jax.random.normal(noise_key, image.shape)
    return image.clip(0.0, 1.0), parts


def warp(
    image: Image,
    parts: Parts,
    *,
    angle: Float[Array, ""],
    scale: Float[Array, ""],
    shift: Float[Array, "2"],
    size: int,
) -> tuple[Image, Parts]:
    """Turns and scales about the middle, then shifts; gives the central square.

    Each pixel looks up where it comes from: the image between its four nearest
    pixels (bilinear, the edge repeated), the masks at the nearest one.

    Args:
        image: of any shape, also larger than what is returned.
        parts: of the image's shape.
        angle: clockwise, in radians.
        scale: above 1 enlarges.
        shift: to the right and down, in pixels.
        size: side of the square that is returned.
    """
    height, width = image.shape[:2]
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    to_x = jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2 - shift[0]
    to_y = jnp.arange(size, dtype=jnp.float32)[:, None] - (size - 1) / 2 - shift[1]
    cos, sin = jnp.cos(angle) / scale, jnp.sin(angle) / scale
    from_x = cos * to_x + sin * to_y + middle_x
    from_y = cos * to_y - sin * to_x + middle_y
    nearest_x, nearest_y = jnp.round(from_x).astype(int), jnp.round(from_y).astype(int)
    inside = (nearest_x >= 0) & (nearest_x < width) & (nearest_y >= 0) & (nearest_y < height)
    return _bilinear(image, from_x, from_y), _look_up(parts, nearest_x, nearest_y) & inside[..., None]


def gaussian_blur(image: Image, sigma_px: Float[Array, ""], reach: int) -> Image:
    """A Gaussian blur as two passes of shifted sums, the edge repeated.

    Args:
        image: of any shape.
        sigma_px: standard deviation; 0 leaves the image as it is.
        reach: how many pixels to either side the window holds.
    """
    offsets = np.arange(-reach, reach + 1, dtype=np.float32)
    weights = jnp.exp(-0.5 * jnp.square(offsets / jnp.maximum(sigma_px, 1e-3)))
    weights = weights / weights.sum()
    for axis in (0, 1):
        length = image.shape[axis]
        padding = [(reach, reach) if i == axis else (0, 0) for i in range(image.ndim)]
        # Without barriers XLA computes what went before anew for each shift, several times slower.
        padded = jax.lax.optimization_barrier(jnp.pad(jax.lax.optimization_barrier(image), padding, mode="edge"))
        shifted = [jax.lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(len(offsets))]
        image = sum((weight * part for weight, part in zip(weights, shifted, strict=True)), jnp.zeros_like(image))
    return image


def _bilinear(image: Image, x: Float[Array, "to_y to_x"], y: Float[Array, "to_y to_x"]) -> Float[Array, "to_y to_x 3"]:
    height, width = image.shape[:2]
    x, y = x.clip(0.0, width - 1.0), y.clip(0.0, height - 1.0)
    left, top = jnp.floor(x), jnp.floor(y)
    right_share, bottom_share = (x - left)[..., None], (y - top)[..., None]
    left, top = left.astype(int), top.astype(int)
    upper = _look_up(image, left, top) * (1.0 - right_share) + _look_up(image, left + 1, top) * right_share
    lower = _look_up(image, left, top + 1) * (1.0 - right_share) + _look_up(image, left + 1, top + 1) * right_share
    return upper * (1.0 - bottom_share) + lower * bottom_share


def _look_up(
    array: Float[Array, "height width channels"] | Bool[Array, "height width channels"],
    x: Int[Array, "to_y to_x"],
    y: Int[Array, "to_y to_x"],
):
    """The array's values at whole places, the nearest edge's outside."""
    height, width = array.shape[:2]
    at = y.clip(0, height - 1) * width + x.clip(0, width - 1)
    return array.reshape(height * width, -1).at[at].get(mode="promise_in_bounds")
