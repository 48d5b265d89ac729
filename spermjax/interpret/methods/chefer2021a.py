"""Attention relevance by layer-wise propagation (Chefer, Gur & Wolf 2021a)."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spermjax.interpret.grid import class_row, to_grid
from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.methods.propagate import add_identity, propagate
from spermjax.interpret.model import Variables, attention_spec
from spermjax.interpret.program import trace_model
from spermjax.interpret.relevance.alpha_one import ALPHA_ONE, norms_as_one
from spermjax.interpret.relevance.backward import GRADIENT, pass_back
from spermjax.models.attention.contract import ATTENTION, AttentionSpec


@flax.struct.dataclass
class Relevance:
    """Relevance of one target logit.

    Attributes:
        attention: of each attention weight.
        gradients: of the logit with respect to attention.
        images: of each colour of each pixel.
    """

    attention: Float[Array, "layers batch heads queries keys"]
    gradients: Float[Array, "layers batch heads queries keys"]
    images: Float[Array, "batch height width 3"]


def propagated(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
) -> Relevance:
    """Relevance of attention and of pixels, by the rules of `spermjax.interpret.relevance.alpha_one`.

    Raises:
        ConfigError: the model computes something that has no rule.
    """
    with norms_as_one():
        program, values, slots = trace_model(model, variables, images, (ATTENTION,))
    logits = slots.logits
    start = {logits: jax.nn.one_hot(targets, values[logits].shape[-1], dtype=values[logits].dtype)}
    relevance, gradients = pass_back(program, values, start, ALPHA_ONE), pass_back(program, values, start, GRADIENT)
    layers = slots.layers(ATTENTION, "weights")

    def stacked(messages: dict[int, Array]) -> Array:
        return jnp.stack([messages.get(slot, jnp.zeros_like(values[slot])) for slot in layers])

    pixels = relevance.get(program.inputs[0], jnp.zeros_like(images))
    return Relevance(stacked(relevance), stacked(gradients), pixels)


def attribution_map(
    maps: Float[Array, "layers batch heads tokens tokens"], spec: AttentionSpec, start_layer: int = 0
) -> Float[Array, "batch rows columns"]:
    """The class row of the product over layers of the mean over heads of relu(maps), plus identity.

    Args:
        maps: relevance of attention, or gradient times relevance.
        spec: how to read them.
        start_layer: first layer of the product.
    """
    return propagate(add_identity(jax.nn.relu(maps[start_layer:]).mean(axis=2), normalise=False), spec)


def chefer2021a(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    start_layer: int = 0,
) -> Float[Array, "batch rows columns"]:
    """Transformer attribution (Chefer, Gur & Wolf 2021a, eqs. 13 and 14).

    `attribution_map` of gradient times relevance; rows are not normalised.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        start_layer: first layer of the product.
    """
    found = propagated(model, variables, images, targets)
    return attribution_map(found.gradients * found.attention, attention_spec(model, images), start_layer)


def lrp_rollout(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    start_layer: int = 0,
) -> Float[Array, "batch rows columns"]:
    """As `chefer2021a`, of relevance alone: without gradients."""
    found = propagated(model, variables, images, targets)
    return attribution_map(found.attention, attention_spec(model, images), start_layer)


def lrp_last_layer(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
) -> Float[Array, "batch rows columns"]:
    """The class row of the last layer's positive relevance, mean over heads (partial LRP, Voita et al. 2019)."""
    spec = attention_spec(model, images)
    relevance = jax.nn.relu(propagated(model, variables, images, targets).attention[-1]).mean(axis=1)
    return to_grid(class_row(relevance, spec), spec)


def lrp_pixels(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
) -> Float[Array, "batch height width"]:
    """Relevance propagated down to the pixels, summed over colours (Chefer's "full" LRP)."""
    return propagated(model, variables, images, targets).images.sum(axis=-1)


for _name, _native, _citation in (
    ("chefer2021a", chefer2021a, "Chefer, Gur & Wolf 2021a"),
    ("lrp_rollout", lrp_rollout, "Chefer, Gur & Wolf 2021a, without gradients"),
    ("lrp_last_layer", lrp_last_layer, "Voita et al. 2019; Chefer, Gur & Wolf 2021a"),
    ("lrp_pixels", lrp_pixels, "Bach et al. 2015; Chefer, Gur & Wolf 2021a"),
):
    register(Method(_name, _native, _citation, forward=1, backward=2, needs=frozenset({"attention", "gradients"})))
