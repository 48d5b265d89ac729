"""LeGrad: sensitivity of each layer's own reading of the class to its attention."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spermjax.interpret.grid import to_grid
from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.model import Variables, attention_spec, select
from spermjax.interpret.narrow import narrowed
from spermjax.interpret.program import trace_model
from spermjax.models.attention.contract import ATTENTION, FEATURES


def legrad_layers(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
) -> Float[Array, "layers batch rows columns"]:
    """One map per layer (Bousselham et al. 2024, eqs. 5 to 7).

    A layer's tokens are read by the model's own final norm and head, as if they were
    the last layer's; the map is the mean over heads and queries of the positive
    gradient of that reading by the layer's attention, which itself isn't multiplied in.
    """
    spec = attention_spec(model, images)
    program, values, slots = trace_model(model, variables, images, (ATTENTION, FEATURES))
    outputs, attentions = slots.layers(FEATURES, "output"), slots.layers(ATTENTION, "weights")
    # Attention behind the blocks gives the logits themselves.
    behind = [slots.logits] * (len(attentions) - len(outputs))
    maps = []
    for attention, output in zip(attentions, [*outputs, *behind], strict=True):

        def reading(weights: Float[Array, "batch heads queries keys"], attention=attention, output=output):
            [read] = program.replay(values, {attention: weights}, [output])
            if output != slots.logits:
                [read] = program.replay(values, {outputs[-1]: read}, [slots.logits])
            return select(read, targets).sum()

        gradient = jax.nn.relu(jax.grad(narrowed(reading))(values[attention]))
        maps.append(gradient.mean(axis=(1, 2))[:, spec.prefix :])
    return to_grid(jnp.stack(maps), spec)


def legrad(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    layer: int | None = None,
) -> Float[Array, "batch rows columns"]:
    """LeGrad: the mean over layers of `legrad_layers`, or one layer's map."""
    maps = legrad_layers(model, variables, images, targets)
    return maps.mean(axis=0) if layer is None else maps[layer]


register(
    Method(
        "legrad",
        legrad,
        "Bousselham et al. 2024",
        forward=1,
        backward=1,
        needs=frozenset({"attention", "features", "gradients"}),
    )
)
