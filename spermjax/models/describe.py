"""What a model costs, without computing anything."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from spermjax.config import Model
from spermjax.models.build import build_model
from spermjax.models.named import CONVOLUTIONAL, sized

SHORTER, LONGER = 2, 4
"""Depths that are traced for a deeper transformer. Its cost is linear in pairs of blocks: no variant of attention tells
more than even layers from odd."""


@dataclasses.dataclass(frozen=True)
class Description:
    """The size of a model for one image.

    Attributes:
        parameters: how many there are.
        flops: floating-point operations of a forward pass, as XLA counts them before
            it optimises; a multiplication and an addition are two. NaN where it doesn't.
        tokens: in the attention maps, or None for a model without.
    """

    parameters: int
    flops: float
    tokens: int | None


def describe(config: Model, image_size: int, num_outputs: int) -> Description:
    """Traces a model on shapes alone.

    Args:
        config: of the model.
        image_size: side in pixels; its patch size must divide it.
        num_outputs: logits.

    Raises:
        ConfigError: if no model has that name.
    """
    config, model = sized(config), build_model(config, num_outputs)
    if config.name not in CONVOLUTIONAL and config.depth > LONGER and config.depth % 2 == 0:
        shorter, longer = (
            describe(dataclasses.replace(config, depth=depth), image_size, num_outputs) for depth in (SHORTER, LONGER)
        )
        steps = (config.depth - LONGER) // (LONGER - SHORTER)
        return Description(
            parameters=longer.parameters + steps * (longer.parameters - shorter.parameters),
            flops=longer.flops + steps * (longer.flops - shorter.flops),
            tokens=longer.tokens,
        )
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    variables = {name: tree for name, tree in shapes.items() if name in ("params", "batch_stats")}
    cost = jax.jit(model.apply).lower(variables, image).cost_analysis()
    tokens = None
    if hasattr(model, "attention_spec"):
        spec = model.attention_spec((image_size, image_size))
        tokens = spec.prefix + math.prod(spec.grid)
    return Description(
        parameters=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])),
        flops=cost["flops"] if cost else math.nan,
        tokens=tokens,
    )
