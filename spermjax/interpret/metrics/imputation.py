"""Filling in missing pixels from the known ones around them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

NEIGHBOURS = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if row or column)
"""The eight pixels around one."""

TOLERANCE = 1e-6
ITERATIONS = 1000


def _neighbour_sum(values: Float[Array, "height width channels"]) -> Float[Array, "height width channels"]:
    """Weighted sum over the eight neighbours inside the image: 1/6 at the sides, 1/12 at the corners."""
    height, width, _ = values.shape
    padded = jnp.pad(values, ((1, 1), (1, 1), (0, 0)))

    def shifted(row: int, column: int) -> Float[Array, "height width channels"]:
        weight = 1 / 12 if row and column else 1 / 6
        return weight * padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]

    return sum((shifted(row, column) for row, column in NEIGHBOURS), start=jnp.zeros_like(values))


def _impute(
    image: Float[Array, "height width channels"], known: Bool[Array, "height width"]
) -> Float[Array, "height width channels"]:
    unknown = ~known[..., None]
    total = _neighbour_sum(jnp.ones((*known.shape, 1), image.dtype))
    given = jnp.where(unknown, _neighbour_sum(jnp.where(unknown, 0.0, image)), 0.0)

    def balance(values: Float[Array, "height width channels"]) -> Float[Array, "height width channels"]:
        return jnp.where(unknown, total * values - _neighbour_sum(values), 0.0)

    mean = jnp.where(unknown, 0.0, image).sum((0, 1)) / jnp.maximum(known.sum(), 1)
    start = jnp.where(unknown, mean, 0.0)
    # The balance is symmetric, and positive definite on the unknown pixels unless none is known.
    solved, _ = jax.scipy.sparse.linalg.cg(balance, given, start, tol=TOLERANCE, maxiter=ITERATIONS)
    return jnp.where(unknown, jnp.where(known.any(), solved, mean), image)


def impute(
    images: Float[Array, "batch height width channels"], known: Bool[Array, "batch height width"]
) -> Float[Array, "batch height width channels"]:
    """Each unknown pixel becomes the weighted mean of its eight neighbours (Rong et al. 2022, equation 7).

    The smoothest image with the known pixels: no edge tells what was removed. Neighbours
    beyond the border don't count. The published method adds noise to this; here there is
    none, so that the result is reproducible.

    Args:
        images: what the known pixels show.
        known: where they are; an image without any becomes zero.
    """
    return jax.vmap(_impute)(images, known)


def dilate(masks: Bool[Array, "batch height width"]) -> Bool[Array, "batch height width"]:
    """Masks grown by one pixel in all eight directions."""
    grown = jax.vmap(_neighbour_sum)(masks[..., None].astype(jnp.float32))[..., 0]
    return masks | (grown > 0)
