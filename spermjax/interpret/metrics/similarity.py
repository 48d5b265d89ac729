"""How alike two maps are: correlations, structural similarity, and gradients' orientations.

Each compares two arrays of one shape along their last axes, and is NaN where either is
constant or isn't finite, for then nothing is shown that could be alike.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SSIM_WINDOW_PX = 7
SSIM_GAUSSIAN_PX = 11
SSIM_SIGMA_PX = 1.5
SSIM_LUMINANCE = 0.01**2
SSIM_CONTRAST = 0.03**2
ORIENTATIONS = 9
CELL_PX = 8
HOG_EPSILON = 1e-5
HOG_CLIP = 0.2


def pearson(first: Float[Array, "*lead values"], second: Float[Array, "*lead values"]) -> Float[Array, "*lead"]:
    """Correlation of values along the last axis."""

    def standard(values: Float[Array, "*lead values"]) -> Float[Array, "*lead values"]:
        centred = values - values.mean(-1, keepdims=True)
        # The mean of equal values need not be one of them.
        length = jnp.linalg.norm(centred, axis=-1, keepdims=True)
        varies = values.max(-1, keepdims=True) > values.min(-1, keepdims=True)
        return centred / jnp.where(varies & (length > 0), length, jnp.nan)

    return (standard(first) * standard(second)).sum(-1)


def midranks(values: Float[Array, "values"]) -> Float[Array, "values"]:
    """Ranks from 1; tied values share their mean rank."""
    ordered = jnp.sort(values)
    below, up_to = (jnp.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return (below + up_to + 1) / 2


def spearman(first: Float[Array, "batch *map"], second: Float[Array, "batch *map"]) -> Float[Array, "batch"]:
    """Rank correlation of the values of two maps (Spearman 1904), ties shared."""
    a, b = first.reshape(len(first), -1), second.reshape(len(second), -1)
    finite = jnp.isfinite(a).all(-1) & jnp.isfinite(b).all(-1)
    return jnp.where(finite, pearson(jax.vmap(midranks)(a), jax.vmap(midranks)(b)), jnp.nan)


def _unit_range(map: Float[Array, "height width"]) -> Float[Array, "height width"]:
    low, high = map.min(), map.max()
    return (map - low) / jnp.where(high > low, high - low, jnp.nan)


def _window_means(map: Float[Array, "*sides"], weights: Float[np.ndarray, "size"]) -> Float[Array, "*places"]:
    """Weighted means over all windows that lie wholly inside."""
    for axis in range(map.ndim):
        length = map.shape[axis] - len(weights) + 1
        shifted = [jax.lax.slice_in_dim(map, k, k + length, axis=axis) for k in range(len(weights))]
        map = sum((float(weight) * part for weight, part in zip(weights, shifted, strict=True)), jnp.zeros(()))
    return map


def structural_similarity(
    first: Float[Array, "*sides"],
    second: Float[Array, "*sides"],
    weights: Float[np.ndarray, "size"],
    *,
    sample: bool,
) -> Float[Array, ""]:
    """Mean structural similarity of two arrays of values from 0 to 1 (Wang et al. 2004, equations 13 and 17).

    Args:
        first: one array, of any number of axes.
        second: the other.
        weights: of a window along each axis, which sum to one; windows lie wholly inside.
        sample: variances are estimates from the window's values as a sample; else they
            are moments of the weighted window, as in the paper.
    """
    count = len(weights) ** first.ndim
    factor = count / (count - 1) if sample else 1.0
    mean_a, mean_b = _window_means(first, weights), _window_means(second, weights)
    variance_a = factor * (_window_means(first * first, weights) - mean_a**2)
    variance_b = factor * (_window_means(second * second, weights) - mean_b**2)
    covariance = factor * (_window_means(first * second, weights) - mean_a * mean_b)
    luminance = (2 * mean_a * mean_b + SSIM_LUMINANCE) / (mean_a**2 + mean_b**2 + SSIM_LUMINANCE)
    return (luminance * (2 * covariance + SSIM_CONTRAST) / (variance_a + variance_b + SSIM_CONTRAST)).mean()


def ssim(
    first: Float[Array, "batch height width"], second: Float[Array, "batch height width"]
) -> Float[Array, "batch"]:
    """Structural similarity of two maps, each scaled from 0 to 1 (Wang et al. 2004).

    Windows of 7 x 7 equal weights (or the whole of a smaller side) that lie inside the
    map, sample variances, as in scikit-image.
    """
    size = min(SSIM_WINDOW_PX, *first.shape[1:])
    weights = np.full(size, 1 / size)
    return jax.vmap(lambda a, b: structural_similarity(_unit_range(a), _unit_range(b), weights, sample=True))(
        first, second
    )


def ssim_gaussian(
    first: Float[Array, "batch height width"], second: Float[Array, "batch height width"]
) -> Float[Array, "batch"]:
    """`ssim` as its authors weigh it: a Gaussian window of 11 x 11 px (or a smaller side) and sigma 1.5 px."""
    size = min(SSIM_GAUSSIAN_PX, *first.shape[1:])
    weights = np.exp(-((np.arange(size) - (size - 1) / 2) ** 2) / (2 * SSIM_SIGMA_PX**2))
    weights = weights / weights.sum()
    return jax.vmap(lambda a, b: structural_similarity(_unit_range(a), _unit_range(b), weights, sample=False))(
        first, second
    )


def _hog(map: Float[Array, "height width"]) -> Float[Array, "features"]:
    scaled = _unit_range(map)
    # Central differences; none at the border, as in scikit-image.
    vertical = jnp.zeros_like(scaled).at[1:-1].set(scaled[2:] - scaled[:-2])
    horizontal = jnp.zeros_like(scaled).at[:, 1:-1].set(scaled[:, 2:] - scaled[:, :-2])
    angle = jnp.rad2deg(jnp.arctan2(vertical, horizontal)) % 180.0
    place = jnp.minimum((angle * ORIENTATIONS / 180.0).astype(jnp.int32), ORIENTATIONS - 1)
    votes = jax.nn.one_hot(place, ORIENTATIONS) * jnp.hypot(vertical, horizontal)[..., None]
    cell = min(CELL_PX, *map.shape)
    rows, columns = map.shape[0] // cell, map.shape[1] // cell
    cells = votes[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell, ORIENTATIONS)
    cells = cells.mean((1, 3))
    block = min(3, rows, columns)
    starts = [(r, c) for r in range(rows - block + 1) for c in range(columns - block + 1)]
    blocks = jnp.stack([cells[r : r + block, c : c + block].reshape(-1) for r, c in starts])
    for clip in (HOG_CLIP, np.inf):
        blocks = blocks / jnp.sqrt(jnp.square(blocks).sum(-1, keepdims=True) + HOG_EPSILON**2)
        blocks = jnp.minimum(blocks, clip)
    return blocks.reshape(-1)


def hog_similarity(
    first: Float[Array, "batch height width"], second: Float[Array, "batch height width"]
) -> Float[Array, "batch"]:
    """Correlation of two maps' histograms of oriented gradients (Dalal & Triggs 2005; Adebayo et al. 2018).

    9 unsigned orientations, cells of 8 x 8 px, blocks of 3 x 3 cells (or as many as
    there are), L2-Hys, as in scikit-image.
    """
    return pearson(jax.vmap(_hog)(first), jax.vmap(_hog)(second))


SIMILARITIES = {"spearman": spearman, "ssim": ssim, "ssim_gaussian": ssim_gaussian, "hog": hog_similarity}
STANDARD = ("spearman", "ssim", "hog")
"""Those that the sanity checks report when none are named."""
