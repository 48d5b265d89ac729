"""Convolution, normalisation and activation as one unit."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.models.cnn.depthwise import depthwise

Activation = Callable[[jax.Array], jax.Array]
conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def relu6(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """min(max(x, 0), 6)."""
    return jnp.clip(x, 0.0, 6.0)


class ConvNorm(nn.Module):
    """A convolution without bias, batch normalisation (Ioffe & Szegedy 2015), an activation.

    Attributes:
        channels: of the output.
        size: side of the kernel.
        stride: step between outputs.
        depthwise: each channel by itself.
        activation: after the normalisation, or None.
        padding: `centred` pads `size // 2` on each side, as PyTorch's networks do;
            `same` pads as TensorFlow does, less at the start than at the end.
        epsilon: of the normalisation.
        axis_name: mapped axis of the batch over which statistics are taken.
        dtype: type of the computation; statistics are float32.
    """

    channels: int
    size: int = 1
    stride: int = 1
    depthwise: bool = False
    activation: Activation | None = nn.relu
    padding: str = "centred"
    epsilon: float = 1e-5
    axis_name: str | None = None
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch rows columns channels"], *, train: bool
    ) -> Float[Array, "batch new_rows new_columns new_channels"]:
        x = nn.Conv(
            self.channels,
            (self.size, self.size),
            strides=self.stride,
            padding="SAME" if self.padding == "same" else self.size // 2,
            feature_group_count=self.channels if self.depthwise else 1,
            conv_general_dilated=depthwise if self.depthwise else None,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=conv_init,
            name="conv",
        )(x)
        x = nn.BatchNorm(
            use_running_average=not train,
            momentum=0.9,
            epsilon=self.epsilon,
            axis_name=self.axis_name,
            dtype=self.dtype,
            name="norm",
        )(x)
        return x if self.activation is None else self.activation(x)
