"""A plain stack of convolutions: the least that the literature compares with."""

import functools

import flax.linen as nn
from jaxtyping import Array, Float

from spermjax.models.cnn.cbam import Cbam
from spermjax.models.cnn.layers import ConvNorm
from spermjax.models.cnn.network import ConvolutionalNetwork


class SimpleCnn(ConvolutionalNetwork):
    """Convolutions of 3x3, each followed by a maximum over 2x2, channels doubling.

    Attributes:
        channels: of each convolution; images are at least `2 ** len(channels)` pixels wide.
    """

    channels: tuple[int, ...] = (32, 64, 128, 256)

    def trunk(
        self, x: Float[Array, "batch height width 3"], train: bool
    ) -> Float[Array, "batch rows columns channels"]:
        unit = functools.partial(ConvNorm, axis_name=self.axis_name, dtype=self.dtype)
        for layer, channels in enumerate(self.channels):
            x = unit(channels, 3, name=f"layer_{layer}")(x, train=train)
            if self.cbam == "blocks":
                x = Cbam(name=f"cbam_{layer}")(x)
            x = nn.max_pool(x, (2, 2), (2, 2))
        return x
