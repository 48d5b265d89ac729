"""The order of a map's values, which several metrics share.

XLA sorts integers on a CPU some twenty times faster than floats, and computes an
expression once that appears several times in one programme: metrics that ask for the
order of the same values cost one sort between them.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

LOWER_BITS = np.int32(0x7FFFFFFF)


def keys(values: Float[Array, "*shape"]) -> Int[Array, "*shape"]:
    """Integers that are ordered as finite single-precision values are, and equal where they are."""
    # Both zeros are one value, but not one pattern of bits.
    values = jnp.where(values == 0, 0.0, values).astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(values, jnp.int32)
    return jnp.where(bits < 0, bits ^ LOWER_BITS, bits)


def ascending(values: Float[Array, "*shape"]) -> Int[Array, "count"]:
    """All keys in order."""
    return jnp.sort(keys(values).reshape(-1))


def below(values: Float[Array, "*shape"]) -> Int[Array, "count"]:
    """How many values are less than each, in the order of pixels."""
    return jnp.searchsorted(ascending(values), keys(values).reshape(-1), side="left", method="scan_unrolled")


def up_to(values: Float[Array, "*shape"]) -> Int[Array, "count"]:
    """How many values are not more than each, in the order of pixels."""
    less = below(values)
    # Equal values are below the same others, so counting these counts them, without a second search.
    return less + jnp.zeros_like(less).at[less].add(1)[less]
