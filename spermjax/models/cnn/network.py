"""What all convolutional networks share: from pixels to a trunk, and from its last feature map to logits."""

import abc

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.models.attention.contract import FEATURES, tap
from spermjax.models.cnn.cbam import Cbam
from spermjax.models.layers import PerExampleDropout, normalised


class ConvolutionalNetwork(nn.Module):
    """Normalises images, runs the trunk, pools and classifies.

    Collections: `features/map` and `features/pooled`; with CBAM `attention/.../channel`
    and `attention/.../spatial`.

    Attributes:
        num_outputs: logits.
        cbam: `none`, `last` (on the last feature map) or `blocks` (in every block of the trunk).
        dropout: of the pooled features.
        mean: mean of each colour that the model subtracts.
        std: standard deviation of each colour that the model divides by.
        per_image: whether each image's own mean and standard deviation serve instead.
        axis_name: mapped axis of the batch.
        dtype: type of the computation.
    """

    num_outputs: int
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
        """Classifies images.

        Args:
            images: intensities in [0, 1].
            train: whether statistics are those of the batch, and dropout acts.

        Returns:
            Logits, float32.
        """
        x = self.trunk(normalised(images, self.mean, self.std, self.per_image), train)
        if self.cbam == "last":
            x = Cbam(name="cbam")(x)
        x = tap(self, FEATURES, "map", x.astype(jnp.float32))
        pooled = tap(self, FEATURES, "pooled", x.mean(axis=(1, 2)))
        pooled = PerExampleDropout(self.dropout, axis_name=self.axis_name, name="head_dropout")(pooled, train=train)
        return nn.Dense(self.num_outputs, name="head")(pooled)

    @abc.abstractmethod
    def trunk(
        self, x: Float[Array, "batch height width 3"], train: bool
    ) -> Float[Array, "batch rows columns channels"]:
        """From normalised images to the last feature map."""
