"""Relevance as input times a modified gradient: AttnLRP and CP-LRP.

The authors of AttnLRP's reference implementation declare a patent on it; see the
documentation of explanations before you use it commercially.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.model import Variables
from spermjax.interpret.program import trace_model
from spermjax.interpret.relevance.backward import pass_back
from spermjax.interpret.relevance.modified_gradient import MODIFIED_GRADIENT
from spermjax.models.attention.contract import ATTENTION, FEATURES


def pixel_relevance(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    attention_held: bool = False,
    baseline: float = 0.5,
) -> Float[Array, "batch height width 3"]:
    """Distance from the baseline times modified gradient, per colour.

    Biases absorb relevance, so the sum is not the logit.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        attention_held: whether attention counts as a constant (CP-LRP) or its queries
            and keys take part (AttnLRP).
        baseline: the intensity that the model sees as zero.
    """
    program, values, slots = trace_model(model, variables, images, (ATTENTION,) if attention_held else ())
    held = slots.layers(ATTENTION, "weights") if attention_held else ()
    start = {slots.logits: jax.nn.one_hot(targets, values[slots.logits].shape[-1])}
    messages = pass_back(program, values, start, MODIFIED_GRADIENT, held)
    return (images - baseline) * messages[program.inputs[0]]


def token_relevance(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    attention_held: bool = False,
) -> Float[Array, "batch tokens"]:
    """The same on the tokens that enter the first block, class token and registers among them."""
    program, values, slots = trace_model(model, variables, images, (ATTENTION, FEATURES))
    held = slots.layers(ATTENTION, "weights") if attention_held else ()
    [tokens] = slots.layers(FEATURES, "tokens")
    start = {slots.logits: jax.nn.one_hot(targets, values[slots.logits].shape[-1])}
    messages = pass_back(program, values, start, MODIFIED_GRADIENT, held)
    return jnp.sum(values[tokens] * messages[tokens], axis=-1)


def attn_lrp(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    baseline: float = 0.5,
) -> Float[Array, "batch height width"]:
    """AttnLRP (Achtibat et al. 2024, with gamma 0) on pixels, summed over colours, signed."""
    return pixel_relevance(model, variables, images, targets, baseline=baseline).sum(axis=-1)


def cp_lrp(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    baseline: float = 0.5,
) -> Float[Array, "batch height width"]:
    """CP-LRP (Ali et al. 2022): as AttnLRP, with attention held constant."""
    relevance = pixel_relevance(model, variables, images, targets, attention_held=True, baseline=baseline)
    return relevance.sum(axis=-1)


register(Method("attn_lrp", attn_lrp, "Achtibat et al. 2024", forward=1, backward=1, needs=frozenset({"gradients"})))
register(
    Method("cp_lrp", cp_lrp, "Ali et al. 2022", forward=1, backward=1, needs=frozenset({"attention", "gradients"}))
)
