"""Convolutional block attention module (Woo et al. 2018)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.models.attention.contract import ATTENTION, tap


class Cbam(nn.Module):
    """Channels weighed first, then places (eqs. 1 to 3).

    Both weights lie in (0, 1) and sum to nothing in particular. They are filed in the
    collection `attention` as `channel`, `[batch, channels]`, and `spatial`, `[batch,
    rows, columns]`; they are no weights of tokens, so methods for transformers don't
    read them. As the paper describes, without the normalisation that its code puts
    behind the spatial convolution.

    Attributes:
        reduction: channels over hidden channels of the shared MLP.
        size: side of the spatial kernel.
    """

    reduction: int = 16
    size: int = 7

    @nn.compact
    def __call__(self, x: Float[Array, "batch rows columns channels"]) -> Float[Array, "batch rows columns channels"]:
        channels = x.shape[-1]
        hidden = nn.Dense(max(1, channels // self.reduction), use_bias=False, name="channel_hidden")
        out = nn.Dense(channels, use_bias=False, name="channel_out")
        mean, most = x.mean(axis=(1, 2)), x.max(axis=(1, 2))
        scores = out(nn.relu(hidden(mean))) + out(nn.relu(hidden(most)))
        channel = tap(self, ATTENTION, "channel", jax.nn.sigmoid(scores))
        x = x * channel[:, None, None, :].astype(x.dtype)
        pooled = jnp.stack([x.mean(axis=-1), x.max(axis=-1)], axis=-1)
        scores = nn.Conv(1, (self.size, self.size), padding=self.size // 2, use_bias=False, name="spatial_conv")(pooled)
        spatial = tap(self, ATTENTION, "spatial", jax.nn.sigmoid(scores[..., 0]))
        return x * spatial[..., None].astype(x.dtype)
