"""Where a patch lies, told to its token."""

import numpy as np
from jaxtyping import Float


def sincos_2d(grid: tuple[int, int], width: int, temperature: float = 10_000.0) -> Float[np.ndarray, "patches width"]:
    """Fixed sine and cosine position embedding in two dimensions (Vaswani et al. 2017; Chen et al. 2021).

    Args:
        grid: rows and columns of patches.
        width: channels of a token, a multiple of four: sine and cosine of the
            column, then of the row.
        temperature: ratio of the longest to the shortest wavelength.

    Returns:
        One embedding per patch, row-major.
    """
    rows, columns = np.mgrid[: grid[0], : grid[1]].reshape(2, -1)
    frequencies = temperature ** -np.linspace(0.0, 1.0, width // 4)
    angles = [place[:, None] * frequencies for place in (columns, rows)]
    return np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=1).astype(np.float32)
