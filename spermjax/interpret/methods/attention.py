"""Attention itself as an explanation: one layer's, or rolled out over layers."""

from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spermjax.interpret.capture import capture
from spermjax.interpret.grid import class_row, to_grid, without_negative
from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.methods.propagate import add_identity, propagate
from spermjax.interpret.model import Variables, attention_spec
from spermjax.models.attention.contract import ATTENTION, AttentionSpec

Fusion = Literal["mean", "max", "min"] | int


def fuse_heads(
    attention: Float[Array, "*lead heads queries keys"], fusion: Fusion
) -> Float[Array, "*lead queries keys"]:
    """One map of all heads (`mean`, `max`, `min`), or of the head with that index."""
    if isinstance(fusion, int):
        return attention[..., fusion, :, :]
    return {"mean": jnp.mean, "max": jnp.max, "min": jnp.min}[fusion](attention, axis=-3)


def raw_attention(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    layer: int = -1,
    fusion: Fusion = "mean",
) -> Float[Array, "batch rows columns"]:
    """The class row of one layer's attention.

    It is blind to everything behind the attention: values, MLP, head. It does not
    depend on the target.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        layer: index of the layer; negative counts from the last.
        fusion: how heads become one, or the index of the head to show.
    """
    del targets
    spec = attention_spec(model, images)
    attention = capture(model, variables, images, (ATTENTION,)).attention[layer]
    return to_grid(class_row(fuse_heads(attention, fusion), spec), spec)


def discard_lowest(
    attention: Float[Array, "*lead tokens tokens"], ratio: float, spec: AttentionSpec
) -> Float[Array, "*lead tokens tokens"]:
    """Sets the lowest entries of each map to zero.

    Args:
        attention: fused maps.
        ratio: share of a map's entries to discard.
        spec: where class tokens read the logits, their attention to themselves is kept.
    """
    count = int(attention.shape[-1] ** 2 * ratio)
    if count == 0:
        return attention
    flat = attention.reshape(*attention.shape[:-2], -1)
    rank = jnp.argsort(jnp.argsort(flat, axis=-1), axis=-1)
    keep = rank >= count
    if spec.reads == "class_token":
        keep = keep.at[..., : spec.class_tokens * (attention.shape[-1] + 1) : attention.shape[-1] + 1].set(True)
    return jnp.where(keep, flat, 0.0).reshape(attention.shape)


def rollout_map(
    attention: Float[Array, "layers batch heads tokens tokens"],
    spec: AttentionSpec,
    *,
    fusion: Fusion = "mean",
    discard_ratio: float = 0.0,
    start_layer: int = 0,
) -> Float[Array, "batch rows columns"]:
    """Attention rollout of captured weights (Abnar & Zuidema 2020, section 3).

    Each layer is the row-normalised sum of its fused attention and the identity that
    stands for the residual connection; the map is the class row of their product.
    Discarding low entries follows Gildenblat's vit-explain, with rows normalised
    (there, columns are divided). Negative weights, which some variants have, count as
    zero.

    Args:
        attention: of all layers.
        spec: how to read it.
        fusion: how heads become one.
        discard_ratio: share of each layer's entries that is set to zero first.
        start_layer: first layer of the product.
    """
    fused = without_negative(fuse_heads(attention[start_layer:], fusion), spec)
    fused = discard_lowest(fused, discard_ratio, spec)
    return propagate(add_identity(fused, normalise=True), spec)


def rollout(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    fusion: Fusion = "mean",
    discard_ratio: float = 0.0,
    start_layer: int = 0,
) -> Float[Array, "batch rows columns"]:
    """Attention rollout (see `rollout_map`); it does not depend on the target."""
    del targets
    captured = capture(model, variables, images, (ATTENTION,))
    return rollout_map(
        captured.attention,
        attention_spec(model, images),
        fusion=fusion,
        discard_ratio=discard_ratio,
        start_layer=start_layer,
    )


register(
    Method(
        name="raw_attention",
        native=raw_attention,
        citation="Vaswani et al. 2017",
        forward=1,
        needs=frozenset({"attention"}),
        class_specific=False,
    )
)
register(
    Method(
        name="rollout",
        native=rollout,
        citation="Abnar & Zuidema 2020",
        forward=1,
        needs=frozenset({"attention"}),
        class_specific=False,
    )
)
