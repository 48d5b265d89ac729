"""Grad-CAM on the tokens of a vision transformer."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spermjax.errors import ConfigError
from spermjax.interpret.capture import capture_with_gradients
from spermjax.interpret.grid import to_grid
from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.model import Variables, attention_spec
from spermjax.models.attention.contract import FEATURES


def grad_cam(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    feature: str = "norm1",
    layer: int = -1,
    positive: bool = True,
) -> Float[Array, "batch rows columns"]:
    """Grad-CAM (Selvaraju et al. 2017, eqs. 1 and 2) with patch tokens as feature maps.

    A channel's weight is its mean gradient over patches; the map is the rectified
    weighted sum of channels. The default feature is what enters the last attention:
    behind it the patch tokens of a class-token model no longer reach the logits.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        feature: name of the captured tokens.
        layer: index of the block; negative counts from the last.
        positive: whether negative values are set to zero, as published.

    Raises:
        ConfigError: for the last output of a class-token model, whose patches have no gradient.
    """
    spec = attention_spec(model, images)
    captured, gradients = capture_with_gradients(model, variables, images, targets, (FEATURES,))
    features = captured.features(feature)
    if spec.reads == "class_token" and feature == "output" and layer in (-1, len(features) - 1):
        raise ConfigError(
            "grad_cam of the last block's 'output': the logits of a class-token model don't depend on its patch "
            "tokens, so the map would be zero. Use feature 'norm1', or an earlier layer."
        )
    patches = features[layer][:, spec.prefix :]
    weights = gradients.features(feature)[layer][:, spec.prefix :].mean(axis=1)
    cam = jnp.einsum("bnd,bd->bn", patches, weights)
    return to_grid(jax.nn.relu(cam) if positive else cam, spec)


register(
    Method(
        name="grad_cam",
        native=grad_cam,
        citation="Selvaraju et al. 2017",
        forward=1,
        backward=1,
        needs=frozenset({"features", "gradients"}),
    )
)
