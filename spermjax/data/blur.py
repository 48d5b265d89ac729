"""A Gaussian blur whose width may differ from image to image under `vmap`."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_REACH = 3.0  # Standard deviations that the window holds.


def gaussian_blur(
    image: Float[Array, "height width 3"], sigma_px: Float[Array, ""], largest_px: float
) -> Float[Array, "height width 3"]:
    """Two passes of shifted sums, the edge repeated.

    Args:
        image: of any shape.
        sigma_px: standard deviation; 0 leaves the image as it is.
        largest_px: what it can be at most, which fixes the window.
    """
    reach = int(np.ceil(_REACH * largest_px))
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
