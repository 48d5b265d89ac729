"""Published parameters brought to the sizes of a model: positions, patches and colours."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def resize_positions(
    positions: Float[np.ndarray, "tokens width"], prefix: int, grid: tuple[int, int]
) -> Float[np.ndarray, "new_tokens width"]:
    """Position embeddings of a square grid, resized to another grid.

    Cubic interpolation with antialiasing, as timm does for DINOv2 (Keys 1981, a = -1/2).
    Tokens before the patches keep theirs; where the file has fewer of them (positions for
    patches alone, or for the class token but not for registers), the others get zeros.

    Args:
        positions: of the file, prefix first, patches row-major.
        prefix: tokens before the patches in the model.
        grid: rows and columns of patches in the model.

    Raises:
        ValueError: no number of prefix tokens up to `prefix` leaves a square grid.
    """
    given = next((n for n in range(prefix, -1, -1) if math.isqrt(len(positions) - n) ** 2 == len(positions) - n), None)
    if given is None:
        raise ValueError(f"{len(positions)} positions are no square grid behind at most {prefix} other tokens")
    side, width = math.isqrt(len(positions) - given), positions.shape[1]
    before = np.concatenate([positions[:given], np.zeros((prefix - given, width), positions.dtype)])
    patches = positions[given:].reshape(side, side, width)
    if (side, side) != grid:
        patches = np.asarray(jax.image.resize(jnp.asarray(patches), (*grid, width), "cubic", antialias=True))
    return np.concatenate([before, patches.reshape(-1, width)])


def resample_patch(
    kernel: Float[np.ndarray, "side side channels width"], size: int
) -> Float[np.ndarray, "size size channels width"]:
    """A patch projection for patches of another size (FlexiViT, Beyer et al. 2023, eq. 4).

    The pseudo-inverse of bilinear resizing: when patches grow, tokens of an image that is
    resized with them stay what they were, exactly.

    Args:
        kernel: the projection, square.
        size: side of the patch wanted.
    """
    side = len(kernel)
    if side == size:
        return kernel
    identity = jnp.eye(side * side).reshape(side, side, side * side)
    resize = np.asarray(jax.image.resize(identity, (size, size, side * side), "bilinear")).reshape(-1, side * side)
    flat = np.linalg.pinv(resize.T.astype(np.float64)) @ kernel.reshape(side * side, -1)
    return flat.reshape(size, size, *kernel.shape[2:]).astype(kernel.dtype)


def in_colour(kernel: Float[np.ndarray, "side side channels width"]) -> Float[np.ndarray, "side side colours width"]:
    """A stem for gray images, made to take three colours: a third of it for each, so gray stays gray."""
    return np.repeat(kernel / 3.0, 3, axis=2) if kernel.shape[2] == 1 else kernel


def adapt(own: dict[str, np.ndarray], wanted: dict[str, Array], prefix: int, patch: int, grid: tuple[int, int]):
    """A transformer's parameters by its own names, resized to what the model wants.

    Args:
        own: of the file; the patch projection is still `[side, side, channels, width]`.
        wanted: of the model.
        prefix: tokens before the patches.
        patch: side of a patch in pixels.
        grid: rows and columns of patches.

    Raises:
        ValueError: the positions are no square grid.
    """
    out = dict(own)
    if "positions" in own and "positions" in wanted:
        out["positions"] = resize_positions(own["positions"], prefix, grid)
    if "stem/projection/kernel" in own:
        kernel = resample_patch(in_colour(own["stem/projection/kernel"]), patch)
        out["stem/projection/kernel"] = kernel.reshape(-1, kernel.shape[-1])
    return out
