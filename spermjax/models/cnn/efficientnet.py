"""EfficientNet-B0 (Tan & Le 2019) and its Lite form, which leaves out squeeze-and-excitation."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from spermjax.models.cnn.cbam import Cbam
from spermjax.models.cnn.layers import Activation, ConvNorm, relu6
from spermjax.models.cnn.network import ConvolutionalNetwork
from spermjax.models.layers import PerExampleDropout

STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
"""Expansion, channels, blocks, stride and kernel of each stage (Tan & Le 2019, table 1)."""


class SqueezeExcite(nn.Module):
    """Weighs channels by their means (Hu et al. 2018).

    Attributes:
        hidden: channels between the two linear maps.
    """

    hidden: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch rows columns channels"]) -> Float[Array, "batch rows columns channels"]:
        scores = nn.silu(nn.Dense(self.hidden, name="reduce")(x.mean(axis=(1, 2))))
        scores = nn.Dense(x.shape[-1], name="expand")(scores)
        return x * jax.nn.sigmoid(scores)[:, None, None, :].astype(x.dtype)


class InvertedResidual(nn.Module):
    """Expand, convolve each channel, squeeze and excite, project (Sandler et al. 2018).

    Attributes:
        unit: `ConvNorm` with the network's padding, normalisation and activation.
        expansion: hidden channels over input channels; 1 leaves the expansion out.
        channels: of the output.
        size: side of the depthwise kernel.
        stride: of the depthwise convolution.
        squeeze: whether squeeze-and-excitation is there.
        cbam: whether CBAM weighs the branch.
        stochastic_depth: probability that the branch is skipped in training.
        axis_name: mapped axis of the batch.
    """

    unit: Callable[..., ConvNorm]
    expansion: int
    channels: int
    size: int
    stride: int
    squeeze: bool
    cbam: bool
    stochastic_depth: float
    axis_name: str | None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch rows columns channels"], *, train: bool
    ) -> Float[Array, "batch new_rows new_columns new_channels"]:
        entered, hidden = x, x.shape[-1] * self.expansion
        if self.expansion > 1:
            x = self.unit(hidden, name="expand")(x, train=train)
        x = self.unit(hidden, self.size, self.stride, depthwise=True, name="depthwise")(x, train=train)
        if self.squeeze:
            x = SqueezeExcite(max(1, entered.shape[-1] // 4), name="squeeze")(x)
        x = self.unit(self.channels, activation=None, name="project")(x, train=train)
        if self.cbam:
            x = Cbam(name="cbam")(x)
        if x.shape != entered.shape:
            return x
        depth = PerExampleDropout(self.stochastic_depth, False, self.axis_name, name="depth")
        return entered + depth(x, train=train)


class EfficientNet(ConvolutionalNetwork):
    """EfficientNet of B0's size.

    Attributes:
        lite: ReLU6 for SiLU, no squeeze-and-excitation, TensorFlow's padding.
        stochastic_depth: probability that the last block is skipped; linear in depth.
    """

    lite: bool = False
    stochastic_depth: float = 0.0

    def trunk(
        self, x: Float[Array, "batch height width 3"], train: bool
    ) -> Float[Array, "batch rows columns channels"]:
        activation: Activation = relu6 if self.lite else nn.silu
        unit = functools.partial(
            ConvNorm,
            activation=activation,
            padding="same" if self.lite else "centred",
            epsilon=1e-3 if self.lite else 1e-5,
            axis_name=self.axis_name,
            dtype=self.dtype,
        )
        x = unit(32, 3, 2, name="stem")(x, train=train)
        total, done = sum(blocks for _, _, blocks, _, _ in STAGES), 0
        for stage, (expansion, channels, blocks, stride, size) in enumerate(STAGES):
            for block in range(blocks):
                x = InvertedResidual(
                    unit=unit,
                    expansion=expansion,
                    channels=channels,
                    size=size,
                    stride=stride if block == 0 else 1,
                    squeeze=not self.lite,
                    cbam=self.cbam == "blocks",
                    stochastic_depth=self.stochastic_depth * done / (total - 1),
                    axis_name=self.axis_name,
                    name=f"block_{stage}_{block}",
                )(x, train=train)
                done += 1
        return unit(1280, name="top")(x, train=train)
