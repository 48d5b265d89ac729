"""The order of a map's values, which several metrics share.

XLA sorts integers on a CPU some twenty times faster than floats, and one of 64 bits as
fast as one of 32: so a pixel's value, place and label are sorted as one integer, and
nothing has to be looked up afterwards. It computes an expression once that appears
several times in one program: metrics that ask for the order of the same values cost one
sort between them.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

LOWER_BITS = np.int32(0x7FFFFFFF)
PLACE_BITS = 31


def keys(values: Float[Array, "*shape"]) -> Int[Array, "*shape"]:
    """Integers that are ordered as finite single-precision values are, and equal where they are."""
    # Both zeros are one value, but not one pattern of bits.
    values = jnp.where(values == 0, 0.0, values).astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(values, jnp.int32)
    return jnp.where(bits < 0, bits ^ LOWER_BITS, bits)


def ascending(values: Float[Array, "*shape"]) -> Int[Array, "count"]:
    """All keys in order."""
    return jnp.sort(keys(values).reshape(-1))


@flax.struct.dataclass
class Ranking:
    """Pixels from the lowest to the highest value; of tied ones the last comes first.

    Attributes:
        inside: whether the pixel lies in the mask.
        last: whether the pixel is the highest of those tied with it.
        lower: how many pixels have a lower value.
        lower_inside: how many of these lie in the mask.
        inside_so_far: how many pixels up to this one lie in the mask.
    """

    inside: Bool[Array, "count"]
    last: Bool[Array, "count"]
    lower: Int[Array, "count"]
    lower_inside: Int[Array, "count"]
    inside_so_far: Int[Array, "count"]

    @property
    def tied_inside(self) -> Int[Array, "count"]:
        """At the last of tied pixels, how many of them lie in the mask; elsewhere 0."""
        return jnp.where(self.last, self.inside_so_far - self.lower_inside, 0)

    @property
    def number(self) -> Int[Array, "count"]:
        """How many pixels come up to this one, itself among them."""
        return jnp.arange(1, self.inside.size + 1)


def ranking(map: Float[Array, "height width"], mask: Bool[Array, "height width"]) -> Ranking:
    """Ranks a map's pixels against a mask; a value that isn't finite has no defined place."""
    with jax.enable_x64(True):
        place = jnp.arange(map.size, dtype=jnp.int64)[::-1]
        word = (keys(map).reshape(-1).astype(jnp.int64) << PLACE_BITS + 1) | (place << 1) | mask.reshape(-1)
        word = jnp.sort(word)
        inside, value = (word & 1).astype(bool), (word >> PLACE_BITS + 1).astype(jnp.int32)
    last = jnp.append(value[1:] != value[:-1], True)
    inside_so_far = jnp.cumsum(inside)
    counts = jnp.where(last, jnp.stack([jnp.arange(1, map.size + 1), inside_so_far]), 0)
    # Both counts only grow, so the largest of those before is that of the tie before.
    before = jax.lax.associative_scan(jnp.maximum, counts, axis=1)[:, :-1]
    lower, lower_inside = jnp.pad(before, ((0, 0), (1, 0)))
    return Ranking(inside, last, lower, lower_inside, inside_so_far)


def inside_highest(
    map: Float[Array, "height width"], mask: Bool[Array, "height width"], count: int | Int[Array, ""]
) -> Int[Array, ""]:
    """How many of so many pixels of the highest values, of tied ones the first, lie in the mask."""
    ranked = ranking(map, mask)
    return (ranked.inside & (ranked.number > map.size - count)).sum()
