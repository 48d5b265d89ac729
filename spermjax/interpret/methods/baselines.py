"""Maps that know nothing of the model, which a method must beat.

Cells are centred and dark on a bright ground, so a blob in the middle or an edge
filter localises well; a method is worth what it adds to them.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.model import Variables


def centre_gaussian(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    spread: float = 0.25,
) -> Float[Array, "batch height width"]:
    """A Gaussian in the middle; `spread` is its standard deviation as a share of the shorter side."""
    del model, variables, targets
    batch, height, width, _ = images.shape
    sigma_px = spread * min(height, width)
    rows, columns = jnp.arange(height) - (height - 1) / 2, jnp.arange(width) - (width - 1) / 2
    squared_px = rows[:, None] ** 2 + columns[None, :] ** 2
    return jnp.broadcast_to(jnp.exp(-squared_px / (2 * sigma_px**2)), (batch, height, width))


def uniform(
    model: Any, variables: Variables, images: Float[Array, "batch height width 3"], targets: Int[Array, "batch"]
) -> Float[Array, "batch height width"]:
    """The same value everywhere."""
    del model, variables, targets
    return jnp.ones(images.shape[:3])


def random(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    index: Int[Array, "batch"],
    seed: int = 0,
) -> Float[Array, "batch height width"]:
    """Independent uniform noise, the same for an example in whatever batch it comes.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        index: the example's number in its data set.
        seed: of all examples' noise.
    """
    del model, variables, targets
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(seed), index)
    return jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:3]))(keys)


def edge_magnitude(
    model: Any, variables: Variables, images: Float[Array, "batch height width 3"], targets: Int[Array, "batch"]
) -> Float[Array, "batch height width"]:
    """Length of the image gradient of the mean colour, by central differences."""
    del model, variables, targets
    along_rows, along_columns = jnp.gradient(images.mean(axis=-1), axis=(1, 2))
    return jnp.hypot(along_rows, along_columns)


def intensity(
    model: Any, variables: Variables, images: Float[Array, "batch height width 3"], targets: Int[Array, "batch"]
) -> Float[Array, "batch height width"]:
    """Distance of the mean colour from the image's median, which is the background's."""
    del model, variables, targets
    grey = images.mean(axis=-1)
    return jnp.abs(grey - jnp.median(grey, axis=(1, 2), keepdims=True))


for _name, _native, _needs in (
    ("centre_gaussian", centre_gaussian, frozenset()),
    ("uniform", uniform, frozenset()),
    ("random", random, frozenset({"index"})),
    ("edge_magnitude", edge_magnitude, frozenset()),
    ("intensity", intensity, frozenset()),
):
    register(Method(_name, _native, "baseline", forward=0, needs=_needs, class_specific=False))
