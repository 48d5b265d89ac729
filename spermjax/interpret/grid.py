"""Between tokens, patches and pixels."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from spermjax.errors import ConfigError
from spermjax.models.attention.contract import AttentionSpec


def plane(images: Float[Array, "batch height width *colours"]) -> tuple[int, int]:
    """Height and width of a batch of images or maps."""
    return images.shape[1], images.shape[2]


def reader_row(maps: Float[Array, "*lead tokens tokens"], spec: AttentionSpec) -> Float[Array, "*lead tokens"]:
    """What the tokens that the logits are read from take from each token, on average."""
    if spec.reads == "class_token":
        return maps[..., : spec.class_tokens, :].mean(axis=-2)
    return maps[..., spec.prefix :, :].mean(axis=-2)


def class_row(maps: Float[Array, "*lead tokens tokens"], spec: AttentionSpec) -> Float[Array, "*lead patches"]:
    """What the tokens that the logits are read from take from each patch.

    Args:
        maps: rows are queries, columns are keys.
        spec: where the patches start, and where the logits come from.

    Returns:
        The mean of the class tokens' rows, or of the patch rows, over patches alone; it
        sums below one by what goes to the tokens before the patches.
    """
    return reader_row(maps, spec)[..., spec.prefix :]


def reader(spec: AttentionSpec, tokens: int) -> Float[Array, "tokens"]:
    """The row vector `r` for which `r @ maps` is the class row, over all tokens."""
    if spec.reads == "class_token":
        return jnp.zeros(tokens).at[: spec.class_tokens].set(1.0 / spec.class_tokens)
    return jnp.zeros(tokens).at[spec.prefix :].set(1.0 / (tokens - spec.prefix))


def without_negative(
    maps: Float[Array, "*lead tokens tokens"], spec: AttentionSpec
) -> Float[Array, "*lead tokens tokens"]:
    """Weights as methods that follow them as a flow want them: what is taken away is no flow."""
    return maps if spec.normalised else jax.nn.relu(maps)


def distributions(
    maps: Float[Array, "*lead tokens tokens"], spec: AttentionSpec
) -> Float[Array, "*lead tokens tokens"]:
    """Weights whose rows sum to one, for statistics: of a variant that does not normalise, the positive ones."""
    if spec.normalised:
        return maps
    positive = jax.nn.relu(maps)
    return positive / (positive.sum(axis=-1, keepdims=True) + 1e-12)


def to_grid(patches: Float[Array, "*lead patches"], spec: AttentionSpec) -> Float[Array, "*lead rows columns"]:
    """Patch values from row-major order to their places."""
    return patches.reshape(*patches.shape[:-1], *spec.grid)


def upsample(maps: Float[Array, "batch rows columns"], size: tuple[int, int]) -> Float[Array, "batch height width"]:
    """Bilinear interpolation between patch centres, constant beyond the outermost ones."""
    return maps if plane(maps) == size else jax.image.resize(maps, (len(maps), *size), "bilinear")


def patch_mean(pixels: Float[Array, "batch height width"], grid: tuple[int, int]) -> Float[Array, "batch rows columns"]:
    """The mean of a pixel map over each patch.

    Raises:
        ConfigError: the image doesn't divide into that many patches.
    """
    batch, height, width = pixels.shape
    rows, columns = grid
    if height % rows or width % columns:
        raise ConfigError(
            f"An image of {height} x {width} px doesn't divide into {rows} x {columns} patches; resize the images."
        )
    return pixels.reshape(batch, rows, height // rows, columns, width // columns).mean(axis=(2, 4))


def coverage(
    masks: Bool[Array, "batch height width parts"], grid: tuple[int, int]
) -> Float[Array, "batch rows columns parts"]:
    """The share of each patch that each part covers, from 0 to 1."""
    return jax.vmap(patch_mean, in_axes=(3, None), out_axes=3)(masks.astype(jnp.float32), grid)


def paint_patches(
    values: Float[Array, "batch patches"] | Bool[Array, "batch patches"], grid: tuple[int, int], size: tuple[int, int]
) -> Array:
    """Each patch's value on all of its pixels, `[batch, height, width]`."""
    placed = values.reshape(len(values), *grid)
    return placed.repeat(size[0] // grid[0], axis=1).repeat(size[1] // grid[1], axis=2)
