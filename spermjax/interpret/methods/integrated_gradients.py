"""Integrated gradients (Sundararajan, Taly & Yan 2017), with their completeness gap."""

from typing import Any, Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from spermjax.errors import ConfigError, nearest
from spermjax.interpret.chunks import steps_at_once, sum_in_chunks
from spermjax.interpret.methods.gradients import pixel_gradient
from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.model import Variables, score

Rule = Literal["gauss_legendre", "trapezoid", "middle", "left", "right"]


def quadrature(rule: Rule, steps: int) -> tuple[Float[np.ndarray, "steps"], Float[np.ndarray, "steps"]]:
    """Nodes and weights on [0, 1]; the weights sum to one.

    Args:
        rule: which rule.
        steps: number of nodes; the trapezoid rule needs two.

    Raises:
        ConfigError: for an unknown rule, or too few steps.
    """
    if rule not in get_args(Rule):
        raise ConfigError(f"There is no quadrature {rule!r}. {nearest(rule, get_args(Rule))}")
    least = 2 if rule == "trapezoid" else 1
    if steps < least:
        raise ConfigError(f"The {rule} rule was given {steps} steps and needs at least {least}.")
    equal = np.full(steps, 1.0 / steps)
    if rule == "gauss_legendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return (nodes + 1) / 2, weights / 2
    if rule == "trapezoid":
        weights = np.full(steps, 1.0 / (steps - 1))
        weights[[0, -1]] /= 2
        return np.linspace(0.0, 1.0, steps), weights
    offset = {"left": 0.0, "middle": 0.5, "right": 1.0}[rule]
    return (np.arange(steps) + offset) / steps, equal


def along_path(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    nodes: Float[Array, "steps"],
    weights: Float[Array, "steps"],
    *,
    baseline: float | Float[Array, "#batch #height #width #colours"] = 0.5,
    chunk: int = 64,
) -> tuple[Float[Array, "batch height width 3"], Float[Array, "batch"]]:
    """`attributions` with the nodes and weights of any quadrature on [0, 1]."""
    start = jnp.broadcast_to(jnp.asarray(baseline, images.dtype), images.shape)
    path = images - start

    def weighted(step: Int[Array, ""]) -> Float[Array, "batch height width 3"]:
        return weights[step] * pixel_gradient(model, variables, start + nodes[step] * path, targets)

    result = path * sum_in_chunks(weighted, len(nodes), steps_at_once(len(images), chunk))
    difference = score(model, variables, images, targets) - score(model, variables, start, targets)
    return result, result.sum(axis=(1, 2, 3)) - difference


def attributions(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    baseline: float | Float[Array, "#batch #height #width #colours"] = 0.5,
    steps: int = 50,
    rule: Rule = "gauss_legendre",
    chunk: int = 64,
) -> tuple[Float[Array, "batch height width 3"], Float[Array, "batch"]]:
    """Attribution of each colour of each pixel, and what completeness misses.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        baseline: intensity, or images, where the path starts; the default is mid-grey.
        steps: nodes of the quadrature.
        rule: the quadrature.
        chunk: images in one backward pass (at least the batch): bounds the memory.

    Returns:
        Signed attributions, and the gap per example: their sum minus the difference of
        the scores at image and baseline, which is zero for an exact integral.
    """
    nodes, weights = (jnp.asarray(values, images.dtype) for values in quadrature(rule, steps))
    return along_path(model, variables, images, targets, nodes, weights, baseline=baseline, chunk=chunk)


def integrated_gradients(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    **options: Any,
) -> Float[Array, "batch height width"]:
    """Integrated gradients summed over colours, signed; options as in `attributions`."""
    return attributions(model, variables, images, targets, **options)[0].sum(axis=-1)


register(
    Method(
        name="integrated_gradients",
        native=integrated_gradients,
        citation="Sundararajan, Taly & Yan 2017",
        forward=50,
        backward=50,
        needs=frozenset({"gradients", "chunk"}),
    )
)
