"""From pixels to patch tokens."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.models.layers import Dense
from spermjax.models.norm import LayerNorm


def patchify(
    images: Float[Array, "batch height width channels"], patch: int
) -> Float[Array, "batch rows columns values"]:
    """Cuts images into patches, by reshaping alone.

    Args:
        images: height and width are multiples of `patch`.
        patch: side of a patch in pixels.

    Returns:
        The `patch * patch * channels` values of each patch, row-major.
    """
    batch, height, width, channels = images.shape
    grid = images.reshape(batch, height // patch, patch, width // patch, patch, channels)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // patch, width // patch, -1)


class Stem(nn.Module):
    """Gives images of `[batch, height, width, 3]` as tokens of `[batch, rows, columns, width]`.

    Attributes:
        patch: side in pixels of the square that a token stands for.
        width: channels of a token.
        dtype: type of the computation.
    """

    patch: int
    width: int
    dtype: jnp.dtype = jnp.float32

    @property
    def halvings(self) -> int:
        """How often the side can be halved before what is left of a patch is odd."""
        return (self.patch & -self.patch).bit_length() - 1


class PatchStem(Stem):
    """One linear map per patch (Dosovitskiy et al. 2021)."""

    @nn.compact
    def __call__(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch rows columns channels"]:
        return Dense(self.width, dtype=self.dtype, name="projection")(patchify(images, self.patch))


class ConvStem(Stem):
    """Convolutions of stride two down to the patch grid (Xiao et al. 2021).

    Channels double at each step and end at half the width; a linear map gives the
    token. What is left of an odd patch size is cut by one last patchification.
    """

    @nn.compact
    def __call__(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch rows columns channels"]:
        x = images
        for step in range(self.halvings):
            channels = max(8, self.width >> (self.halvings - step))
            x = nn.Conv(channels, (3, 3), strides=2, use_bias=False, dtype=self.dtype, name=f"conv_{step}")(x)
            x = nn.GroupNorm(num_groups=1, dtype=self.dtype, name=f"norm_{step}")(x)
            x = nn.relu(x)
        x = patchify(x, self.patch >> self.halvings)
        return Dense(self.width, dtype=self.dtype, name="projection")(x)


class CctStem(Stem):
    """Convolutions with ReLU and overlapping pooling, down to the patch grid (Hassani et al. 2021, CCT, eq. 3).

    Each step halves the side; channels double at each and end at the width. What is
    left of an odd patch size is cut by one last patchification and a linear map.
    """

    @nn.compact
    def __call__(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch rows columns channels"]:
        x = images
        for step in range(self.halvings):
            channels = max(8, self.width >> (self.halvings - 1 - step))
            x = nn.Conv(channels, (3, 3), use_bias=False, dtype=self.dtype, name=f"conv_{step}")(x)
            x = nn.max_pool(nn.relu(x), (3, 3), strides=(2, 2), padding="SAME")
        odd = self.patch >> self.halvings
        if odd == 1 and self.halvings:
            return x
        return Dense(self.width, dtype=self.dtype, name="projection")(patchify(x, odd))


def shift_diagonally(
    images: Float[Array, "batch height width channels"], step: int
) -> Float[Array, "batch height width 5*channels"]:
    """The images and four copies shifted by `step` pixels to each corner, zeros coming in (Lee et al. 2021, eq. 10)."""
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (step, step), (step, step), (0, 0)))
    corners = [(row, column) for row in (0, 2 * step) for column in (0, 2 * step)]
    shifted = [padded[:, row : row + height, column : column + width] for row, column in corners]
    return jnp.concatenate([images, *shifted], axis=-1)


class ShiftedPatchStem(Stem):
    """Shifted patch tokenisation: a token sees half a patch beyond its own (Lee, Lee & Song 2021, eqs. 10 to 12)."""

    @nn.compact
    def __call__(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch rows columns channels"]:
        values = patchify(shift_diagonally(images, self.patch // 2), self.patch)
        values = LayerNorm(dtype=self.dtype, name="norm")(values)
        return Dense(self.width, dtype=self.dtype, name="projection")(values)


STEMS = {"patch": PatchStem, "conv": ConvStem, "cct": CctStem, "shifted": ShiftedPatchStem}
