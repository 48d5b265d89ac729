"""What an explanation sees of a model: images to logits, and a score to explain.

Anything with `apply(variables, images) -> logits` is enough; methods that ask for
more (attention, features, leaving tokens out) say so in their `needs`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spermjax.data.task import Kind
from spermjax.errors import ConfigError
from spermjax.models.attention.contract import AttentionSpec

Variables = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class FunctionModel:
    """Any function from images to logits, for methods and metrics that ask no more.

    Attributes:
        function: `float32[batch, height, width, 3]` in [0, 1] to `[batch, outputs]`.
    """

    function: Callable[[Array], Array]

    def apply(
        self, variables: Variables, images: Float[Array, "batch height width 3"]
    ) -> Float[Array, "batch outputs"]:
        """The function's logits; it has its parameters inside, so `variables` go unused."""
        del variables
        return self.function(images)


def attention_spec(model: Any, images: Float[Array, "batch height width 3"]) -> AttentionSpec:
    """How the model's attention over these images is to be read.

    Raises:
        ConfigError: the model doesn't fill the contract of `spermjax.models.attention.contract`.
    """
    if not hasattr(model, "attention_spec"):
        raise ConfigError(
            f"{type(model).__name__} has no attention_spec((height, width)): it shows no attention and no patch "
            "tokens. Use methods that need images and logits alone, or fill spermjax.models.attention.contract."
        )
    return model.attention_spec((images.shape[1], images.shape[2]))


def has_part_queries(model: Any) -> bool:
    """Whether the logits are read by one query for each part of the cell."""
    return getattr(model, "readout", None) == "part_query"


def has_spatial_attention(model: Any) -> bool:
    """Whether the model weighs places by CBAM."""
    return getattr(model, "cbam", "none") != "none"


def select(logits: Float[Array, "batch outputs"], targets: Int[Array, "batch"]) -> Float[Array, "batch"]:
    """Each example's entry at its own target."""
    return jnp.take_along_axis(logits, targets[:, None], axis=1)[:, 0]


def score(
    model: Any, variables: Variables, images: Float[Array, "batch height width 3"], targets: Int[Array, "batch"]
) -> Float[Array, "batch"]:
    """The quantity that methods explain: the logit of each example's target."""
    return select(model.apply(variables, images), targets)


def probability(
    logits: Float[Array, "batch outputs"], targets: Int[Array, "batch"], kind: Kind = "single_label"
) -> Float[Array, "batch"]:
    """The quantity that faithfulness follows.

    Args:
        logits: of a model.
        targets: index of a logit per example.
        kind: `single_label` takes the softmax over classes, `multi_attribute` the
            sigmoid of the attribute's own logit.

    Returns:
        Probabilities in [0, 1].
    """
    return select(jax.nn.softmax(logits) if kind == "single_label" else jax.nn.sigmoid(logits), targets)
