"""Attention weighted by the gradient of the target logit with respect to it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spermjax.interpret.capture import capture_with_gradients
from spermjax.interpret.grid import class_row, to_grid
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


def chefer2021b_all_classes(
    model: Any, variables: Variables, images: Float[Array, "batch height width 3"]
) -> Float[Array, "batch outputs rows columns"]:
    """`chefer2021b` of every output at once: one forward pass, a backward pass per output."""
    outputs = jax.eval_shape(lambda: model.apply(variables, images)).shape[-1]
    targets = jnp.broadcast_to(jnp.arange(outputs)[:, None], (outputs, len(images)))
    of_one = functools.partial(chefer2021b, model, variables, images)
    return jax.vmap(of_one, out_axes=1)(targets)


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


def attention_grad_cam(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
) -> Float[Array, "batch rows columns"]:
    """Grad-CAM with the last layer's heads as channels (Chefer, Gur & Wolf 2021a, section 4).

    relu of the mean over heads of a head's class row times its mean gradient there;
    not stretched to [0, 1].
    """
    spec = attention_spec(model, images)
    captured, gradients = capture_with_gradients(model, variables, images, targets, (ATTENTION,))
    row, slope = class_row(captured.attention[-1], spec), class_row(gradients.attention[-1], spec)
    return to_grid(jax.nn.relu((row * slope.mean(axis=-1, keepdims=True)).mean(axis=1)), spec)


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
        name="attention_grad_cam",
        native=attention_grad_cam,
        citation="Chefer, Gur & Wolf 2021a, section 4",
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
