"""Where the pixels of an image, its masks and points in it go: mirrored, turned, scaled and shifted.

`move` and `move_points` do the same motion, so that what belongs together stays together.
"""

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Image = Float[Array, "height width 3"]
Parts = Bool[Array, "height width parts"]


@flax.struct.dataclass
class Turn:
    """A turn and a change of size about the middle, then a shift.

    Attributes:
        angle: clockwise, in radians.
        scale: above 1 enlarges.
        shift: to the right and down, in pixels.
    """

    angle: Float[Array, ""]
    scale: Float[Array, ""]
    shift: Float[Array, "2"]


@flax.struct.dataclass
class Motion:
    """Mirrors, then a turn; None where there never is any, so that it isn't compiled.

    Attributes:
        mirror: left to right.
        mirror_vertical: top to bottom.
        turn: what follows.
    """

    mirror: Bool[Array, ""] | None
    mirror_vertical: Bool[Array, ""] | None
    turn: Turn | None


def move(image: Image, parts: Parts, motion: Motion, size: int) -> tuple[Image, Parts]:
    """Moves an image and its masks, and gives the central square.

    Args:
        image: of any shape that holds the square.
        parts: of the image's shape.
        motion: what is done.
        size: side of the square.
    """
    for mirror, axis in ((motion.mirror, 1), (motion.mirror_vertical, 0)):
        if mirror is not None:
            image = jnp.where(mirror, jnp.flip(image, axis), image)
            parts = jnp.where(mirror, jnp.flip(parts, axis), parts)
    if motion.turn is not None:
        return warp(image, parts, motion.turn, size)
    top, left = ((length - size) // 2 for length in image.shape[:2])
    return image[top : top + size, left : left + size], parts[top : top + size, left : left + size]


def move_points(
    points: Float[Array, "points 2"], shape: tuple[int, int], motion: Motion, size: int
) -> Float[Array, "points 2"]:
    """Where `move` brings points.

    Args:
        points: x and y in pixels of the image; the middle of its first pixel is (0, 0).
        shape: height and width of the image.
        motion: what is done.
        size: side of the square.

    Returns:
        x and y in pixels of the square; outside of it where a point left it.
    """
    height, width = shape
    x, y = points[:, 0] - (width - 1) / 2, points[:, 1] - (height - 1) / 2
    if motion.mirror is not None:
        x = jnp.where(motion.mirror, -x, x)
    if motion.mirror_vertical is not None:
        y = jnp.where(motion.mirror_vertical, -y, y)
    if (turn := motion.turn) is not None:
        cos, sin = turn.scale * jnp.cos(turn.angle), turn.scale * jnp.sin(turn.angle)
        x, y = cos * x - sin * y + turn.shift[0], sin * x + cos * y + turn.shift[1]
    return jnp.stack([x, y], axis=-1) + (size - 1) / 2


def warp(image: Image, parts: Parts, turn: Turn, size: int) -> tuple[Image, Parts]:
    """Turns, scales and shifts; gives the central square.

    Each pixel looks up where it comes from: the image between its four nearest
    pixels (bilinear, the edge repeated), the masks at the nearest one.

    Args:
        image: of any shape, also larger than what is returned.
        parts: of the image's shape.
        turn: what is done.
        size: side of the square that is returned.
    """
    height, width = image.shape[:2]
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    to_x = jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2 - turn.shift[0]
    to_y = jnp.arange(size, dtype=jnp.float32)[:, None] - (size - 1) / 2 - turn.shift[1]
    cos, sin = jnp.cos(turn.angle) / turn.scale, jnp.sin(turn.angle) / turn.scale
    from_x = cos * to_x + sin * to_y + middle_x
    from_y = cos * to_y - sin * to_x + middle_y
    nearest_x, nearest_y = jnp.round(from_x).astype(int), jnp.round(from_y).astype(int)
    inside = (nearest_x >= 0) & (nearest_x < width) & (nearest_y >= 0) & (nearest_y < height)
    return _bilinear(image, from_x, from_y), _look_up(parts, nearest_x, nearest_y) & inside[..., None]


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
