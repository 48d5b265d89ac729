"""Where tokens lie on the grid of patches, for variants that ask."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


def coordinates(grid: tuple[int, int]) -> tuple[Int[np.ndarray, "patches"], Int[np.ndarray, "patches"]]:
    """Row and column of each patch, row-major."""
    rows, columns = np.mgrid[: grid[0], : grid[1]].reshape(2, -1)
    return rows, columns


def distances(grid: tuple[int, int]) -> Float[np.ndarray, "patches patches"]:
    """Euclidean distance between patch centres, in patches."""
    rows, columns = coordinates(grid)
    return np.hypot(rows[:, None] - rows, columns[:, None] - columns)


def with_prefix(pairs: Bool[Array | np.ndarray, "patches patches"], prefix: int) -> Bool[Array, "1 1 tokens tokens"]:
    """Pairs of tokens that may meet: those of patches as given, and all with a token before them."""
    return jnp.pad(jnp.asarray(pairs), ((prefix, 0), (prefix, 0)), constant_values=True)[None, None]
