"""ResNet-50 (He et al. 2016), its stride on the 3x3 convolution as all published weights have it."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.models.cnn.cbam import Cbam
from spermjax.models.cnn.layers import ConvNorm
from spermjax.models.cnn.network import ConvolutionalNetwork
from spermjax.models.layers import PerExampleDropout

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Inner channels, blocks and stride of each stage."""


class Bottleneck(nn.Module):
    """Reduce, convolve, expand fourfold, add.

    Attributes:
        unit: `ConvNorm` with the network's settings.
        channels: inside; four times as many come out.
        stride: of the 3x3 convolution.
        cbam: whether CBAM weighs the branch before it is added (Woo et al. 2018, fig. 3).
        stochastic_depth: probability that the branch is skipped in training.
        axis_name: mapped axis of the batch.
    """

    unit: Callable[..., ConvNorm]
    channels: int
    stride: int
    cbam: bool
    stochastic_depth: float
    axis_name: str | None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch rows columns channels"], *, train: bool
    ) -> Float[Array, "batch new_rows new_columns new_channels"]:
        shortcut, out = x, 4 * self.channels
        x = self.unit(self.channels, name="reduce")(x, train=train)
        x = self.unit(self.channels, 3, self.stride, name="convolve")(x, train=train)
        x = self.unit(out, activation=None, name="expand")(x, train=train)
        if self.cbam:
            x = Cbam(name="cbam")(x)
        if shortcut.shape != x.shape:
            shortcut = self.unit(out, 1, self.stride, activation=None, name="shortcut")(shortcut, train=train)
        depth = PerExampleDropout(self.stochastic_depth, False, self.axis_name, name="depth")
        return nn.relu(shortcut + depth(x, train=train))


class ResNet50(ConvolutionalNetwork):
    """ResNet of 50 layers.

    Attributes:
        stochastic_depth: probability that the last block is skipped; linear in depth.
    """

    stochastic_depth: float = 0.0

    def trunk(
        self, x: Float[Array, "batch height width 3"], train: bool
    ) -> Float[Array, "batch rows columns channels"]:
        unit = functools.partial(ConvNorm, axis_name=self.axis_name, dtype=self.dtype)
        x = unit(64, 7, 2, name="stem")(x, train=train)
        # Nothing is below zero behind a ReLU, so zeros pad a maximum as well as minus infinity does.
        x = nn.max_pool(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), (2, 2))
        total, done = sum(blocks for _, blocks, _ in STAGES), 0
        for stage, (channels, blocks, stride) in enumerate(STAGES):
            for block in range(blocks):
                x = Bottleneck(
                    unit=unit,
                    channels=channels,
                    stride=stride if block == 0 else 1,
                    cbam=self.cbam == "blocks",
                    stochastic_depth=self.stochastic_depth * done / (total - 1),
                    axis_name=self.axis_name,
                    name=f"block_{stage}_{block}",
                )(x, train=train)
                done += 1
        return x
