"""Random changes of images and their part masks, together, on the device.

Each example has its own key and nothing else is random, so an example is changed
alike in any batch and on any number of devices. What the configuration sets to zero
is not compiled, and costs nothing.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from spermjax.config import Augment
from spermjax.data.batch import Batch
from spermjax.data.blur import gaussian_blur
from spermjax.data.microscopy import randaugment
from spermjax.data.motion import Motion, Turn, move, move_points

# Streams beside the two that the key is split into, whose numbers are 0 and 1.
_MICROSCOPY, _VERTICAL = 2, 3

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


def augment_points(
    keys: Key[Array, "batch"],
    points: Float[Array, "batch points 2"],
    shape: tuple[int, int],
    config: Augment,
    size: int | None = None,
) -> Float[Array, "batch points 2"]:
    """Where `augment` brings points of the images, for the same keys.

    Args:
        keys: those that `augment` is given.
        points: x and y in pixels; the middle of an image's first pixel is (0, 0).
        shape: height and width of the images.
        config: as for `augment`.
        size: as for `augment`.

    Returns:
        x and y in pixels of the new images; outside of them where a point left.
    """
    size = size or shape[1]
    return jax.vmap(lambda key, own: move_points(own, shape, _motion(key, config, size), size))(keys, points)


def _augment_one(key: Key[Array, ""], image: Image, parts: Parts, config: Augment, size: int) -> tuple[Image, Parts]:
    image, parts = move(image, parts, _motion(key, config, size), size)
    light, spread, blur, noise = _draw(key)[5:]
    if config.blur:
        image = gaussian_blur(image, config.blur * jnp.abs(blur), config.blur)
    if config.contrast:
        mean = image.mean()
        image = mean + (1.0 + config.contrast * spread) * (image - mean)
    if config.brightness:
        image = image + config.brightness * light
    if config.noise:
        noise_key = jax.random.split(key)[1]
        image = image + config.noise * jnp.abs(noise) * jax.random.normal(noise_key, image.shape)
    image = image.clip(0.0, 1.0)
    if config.randaugment:
        image = randaugment(jax.random.fold_in(key, _MICROSCOPY), image, config.randaugment, config.magnitude)
    return image, parts


def _motion(key: Key[Array, ""], config: Augment, size: int) -> Motion:
    flip, angle, growth, x, y = _draw(key)[:5]
    turn = Turn(
        angle=jnp.deg2rad(config.rotate * angle),
        scale=1.0 + config.scale * growth,
        shift=config.shift * size * jnp.stack([x, y]),
    )
    return Motion(
        mirror=flip < 0.0 if config.flip else None,
        mirror_vertical=jax.random.bernoulli(jax.random.fold_in(key, _VERTICAL)) if config.flip_vertical else None,
        turn=turn if config.rotate or config.scale or config.shift else None,
    )


def _draw(key: Key[Array, ""]) -> Float[Array, "9"]:
    """Five numbers in [-1, 1] for where things go, and four for how bright they are."""
    return jax.random.uniform(jax.random.split(key)[0], (9,), minval=-1.0)
