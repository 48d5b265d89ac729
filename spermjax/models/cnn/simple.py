"""A plain stack of convolutions: the least that the literature compares with."""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.models.cnn.cbam import Cbam
from spermjax.models.cnn.layers import ConvNorm, classify
from spermjax.models.layers import normalised


class SimpleCnn(nn.Module):
    """Convolutions of 3x3, each followed by a maximum over 2x2, channels doubling.

    Collections: as `EfficientNet`.

    Attributes:
        num_outputs: logits.
        channels: of each convolution; images are at least `2 ** len(channels)` pixels wide.
        cbam: `none`, `last` (on the last feature map) or `blocks` (after every convolution).
        dropout: of the pooled features.
        mean: mean of each colour that the model subtracts.
        std: standard deviation of each colour that the model divides by.
        per_image: whether each image's own mean and standard deviation serve instead.
        axis_name: mapped axis of the batch.
        dtype: type of the computation.
    """

    num_outputs: int
    channels: tuple[int, ...] = (32, 64, 128, 256)
    cbam: str = "none"
    dropout: float = 0.0
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    per_image: bool = False
    axis_name: str | None = None
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width 3"], *, train: bool = False
    ) -> Float[Array, "batch outputs"]:
        """Classifies images: intensities in [0, 1] to float32 logits."""
        unit = functools.partial(ConvNorm, axis_name=self.axis_name, dtype=self.dtype)
        x = normalised(images, self.mean, self.std, self.per_image)
        for layer, channels in enumerate(self.channels):
            x = unit(channels, 3, name=f"layer_{layer}")(x, train=train)
            if self.cbam == "blocks":
                x = Cbam(name=f"cbam_{layer}")(x)
            x = nn.max_pool(x, (2, 2), (2, 2))
        return classify(
            self,
            x,
            num_outputs=self.num_outputs,
            cbam=self.cbam == "last",
            dropout=self.dropout,
            axis_name=self.axis_name,
            train=train,
        )
