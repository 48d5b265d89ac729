"""Attention weighted by the gradient of the target logit with respect to it."""

from typing import Any

import jax
from jaxtyping import Array, Float, Int

from spermjax.interpret.capture import capture_with_gradients
from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.methods.propagate import add_identity, propagate
from spermjax.interpret.model import Variables, attention_spec
from spermjax.models.attention.contract import ATTENTION


def chefer2021b(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
) -> Float[Array, "batch rows columns"]:
    """Gradient-weighted attention relevance (Chefer, Gur & Wolf 2021b, eqs. 5 and 6).

    `R <- R + mean over heads of relu(A * dA) @ R` from `R = I`, over self-attention
    layers; rows are not normalised.
    """
    captured, gradients = capture_with_gradients(model, variables, images, targets, (ATTENTION,))
    weighted = jax.nn.relu(captured.attention * gradients.attention).mean(axis=2)
    return propagate(add_identity(weighted, normalise=False), attention_spec(model, images))


def gradient_rollout(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
) -> Float[Array, "batch rows columns"]:
    """Rollout of relu(mean over heads of A * dA), rows normalised with the residual.

    The idea is Gildenblat's (vit-explain); here each layer meets its own gradient,
    taken after the softmax, which the reference pairs in reverse and takes before it.
    """
    captured, gradients = capture_with_gradients(model, variables, images, targets, (ATTENTION,))
    weighted = jax.nn.relu((captured.attention * gradients.attention).mean(axis=2))
    return propagate(add_identity(weighted, normalise=True), attention_spec(model, images))


register(
    Method(
        name="chefer2021b",
        native=chefer2021b,
        citation="Chefer, Gur & Wolf 2021b",
        forward=1,
        backward=1,
        needs=frozenset({"attention", "gradients"}),
    )
)
register(
    Method(
        name="gradient_rollout",
        native=gradient_rollout,
        citation="Gildenblat 2020, corrected",
        forward=1,
        backward=1,
        needs=frozenset({"attention", "gradients"}),
    )
)
