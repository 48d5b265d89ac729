"""From pixels to patch tokens."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.models.layers import dense_init


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


class PatchStem(nn.Module):
    """One linear map per patch (Dosovitskiy et al. 2021).

    Attributes:
        patch: side of a patch in pixels.
        width: channels of a token.
        dtype: type of the computation.
    """

    patch: int
    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch rows columns channels"]:
        return nn.Dense(self.width, dtype=self.dtype, kernel_init=dense_init, name="projection")(
            patchify(images, self.patch)
        )


class ConvStem(nn.Module):
    """Convolutions of stride two down to the patch grid (Xiao et al. 2021).

    Channels double at each step and end at half the width; a linear map gives the
    token. What is left of an odd patch size is cut by one last patchification.

    Attributes:
        patch: side in pixels of the square that a token stands for.
        width: channels of a token.
        dtype: type of the computation.
    """

    patch: int
    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch rows columns channels"]:
        halvings = (self.patch & -self.patch).bit_length() - 1
        x = images
        for step in range(halvings):
            channels = max(8, self.width >> (halvings - step))
            x = nn.Conv(channels, (3, 3), strides=2, use_bias=False, dtype=self.dtype, name=f"conv_{step}")(x)
            x = nn.GroupNorm(num_groups=1, dtype=self.dtype, name=f"norm_{step}")(x)
            x = nn.relu(x)
        x = patchify(x, self.patch >> halvings)
        return nn.Dense(self.width, dtype=self.dtype, kernel_init=dense_init, name="projection")(x)
