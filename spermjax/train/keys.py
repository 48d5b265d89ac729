"""Random keys that are a function of the seed, a name and the step alone.

Nothing random has to be saved for a resume, and no stream depends on the order in
which others are drawn.
"""

import zlib

import jax


def named(key: jax.Array, name: str) -> jax.Array:
    """The key of the stream called `name`."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def per_example(key: jax.Array, slots: jax.Array) -> jax.Array:
    """One key per slot of the global batch, whatever device the slot lies on."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, slots)
