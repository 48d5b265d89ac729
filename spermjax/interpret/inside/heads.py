"""What single attention heads do for the logits."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spermjax.interpret.chunks import map_in_chunks, steps_at_once
from spermjax.interpret.model import Variables
from spermjax.interpret.program import trace_model
from spermjax.interpret.relevance.backward import GRADIENT, pass_back
from spermjax.models.attention.contract import ATTENTION


def head_ablation(
    model: Any, variables: Variables, images: Float[Array, "batch height width 3"], *, chunk: int = 64
) -> Float[Array, "layers heads batch outputs"]:
    """Logits if one head wrote nothing: its attention is zero, biases stay.

    Args:
        model: fills the contract of `spermjax.models.attention.contract`.
        variables: its parameters and state.
        images: intensities in [0, 1].
        chunk: images in one forward pass (at least the batch): bounds the memory.
    """
    program, values, slots = trace_model(model, variables, images, (ATTENTION,))
    layers = []
    for slot in slots.layers(ATTENTION, "weights"):

        def without(head: Int[Array, ""], slot: int = slot) -> Float[Array, "batch outputs"]:
            changed = {slot: values[slot].at[:, head].set(0.0)}
            return program.replay(values, changed, [slots.logits])[0]

        layers.append(map_in_chunks(without, values[slot].shape[1], steps_at_once(len(images), chunk)))
    return jnp.stack(layers)


def head_importance(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    loss: Callable[[Float[Array, "batch outputs"]], Float[Array, "batch"]],
) -> Float[Array, "layers batch heads"]:
    """First-order change of each example's loss if a head were taken away (Michel et al. 2019, eq. 2).

    The derivative of the loss by a gate on the head's output, which is the sum over
    its attention weights of weight times gradient. Signed; the importance of a head
    is the mean of its magnitude over examples.

    Args:
        model: fills the contract of `spermjax.models.attention.contract`.
        variables: its parameters and state.
        images: intensities in [0, 1].
        loss: of each example, from its logits, such as the cross-entropy of its label.
    """
    program, values, slots = trace_model(model, variables, images, (ATTENTION,))
    start = {slots.logits: jax.grad(lambda logits: loss(logits).sum())(values[slots.logits])}
    slopes = pass_back(program, values, start, GRADIENT)
    layers = slots.layers(ATTENTION, "weights")
    return jnp.stack([(values[slot] * slopes[slot]).sum(axis=(2, 3)) for slot in layers])
