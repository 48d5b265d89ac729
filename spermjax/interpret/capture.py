"""Intermediate values of a model, and gradients of a logit with respect to them.

All layers' gradients come from one backward pass: each captured value is perturbed
by zeros under its own path, and the gradient is taken with respect to the zeros.
"""

import re
from collections.abc import Mapping
from typing import Any

import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spermjax.errors import ConfigError
from spermjax.interpret.model import FunctionModel, Variables, attention_spec, select
from spermjax.models.attention.contract import ATTENTION, FEATURES, PERTURBATIONS


@flax.struct.dataclass
class Captured:
    """What a model did on a batch, or gradients of a score with respect to it.

    Attributes:
        logits: the model's output.
        collections: the captured collections, values under their modules' paths.
    """

    logits: Float[Array, "batch outputs"]
    collections: dict[str, Any]

    @property
    def attention(self) -> Float[Array, "layers batch heads queries keys"]:
        """Attention weights of all layers, the first layer first."""
        return by_layer(self.collections.get(ATTENTION, {}), "weights", rank=4)

    def features(self, name: str) -> Float[Array, "layers batch tokens width"]:
        """Tokens captured under `name` in every block, such as `norm1` or `output`."""
        return by_layer(self.collections.get(FEATURES, {}), name, rank=3)


def capture(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    collections: tuple[str, ...] = (ATTENTION, FEATURES),
) -> Captured:
    """Runs the model and keeps what it exposes.

    Args:
        model: fills the contract of `spermjax.models.attention.contract`.
        variables: its parameters and state.
        images: intensities in [0, 1].
        collections: what to keep; the rest costs nothing. A model of which nothing is
            asked needs `apply(variables, images)` alone.

    Raises:
        ConfigError: the model doesn't fill the contract.
    """
    if not collections:
        return Captured(model.apply(variables, images), {})
    if ATTENTION in collections:
        attention_spec(model, images)
    if isinstance(model, FunctionModel):
        raise ConfigError(
            "A FunctionModel shows no features. Use methods that need images and logits alone, or a Flax module that "
            "passes its feature maps through spermjax.models.attention.contract.tap."
        )
    logits, captured = model.apply(_without(variables, collections), images, mutable=list(collections))
    return Captured(logits, dict(captured))


def capture_with_gradients(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    collections: tuple[str, ...] = (ATTENTION, FEATURES),
) -> tuple[Captured, Captured]:
    """Runs the model once forward and once backward.

    Args:
        model: fills the contract of `spermjax.models.attention.contract`.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to differentiate, per example.
        collections: what to keep and to differentiate by.

    Returns:
        The captured values, and gradients of each example's target logit with
        respect to them, in the same structure (its `logits` are one-hot targets).
    """
    shapes = jax.eval_shape(lambda: capture(model, variables, images, collections)).collections
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def total_score(perturbations: dict[str, Any]) -> tuple[Float[Array, ""], Captured]:
        perturbed = {**variables, PERTURBATIONS: _merge(perturbations)}
        captured = capture(model, perturbed, images, collections)
        return select(captured.logits, targets).sum(), captured

    gradients, captured = jax.grad(total_score, has_aux=True)(zeros)
    return captured, Captured(jax.nn.one_hot(targets, captured.logits.shape[-1]), gradients)


def by_layer(tree: Mapping[str, Any], name: str, rank: int) -> Float[Array, "layers ..."]:
    """Stacks one captured value over layers.

    Args:
        tree: a captured collection; a scanned model's values have a leading layer axis.
        name: last component of the values' paths.
        rank: number of axes of one layer's value.

    Returns:
        Values in the order of their layers.

    Raises:
        ConfigError: nothing of that name was captured, or layers differ in shape.
    """
    found = in_order(tree, name)
    layers = [value[None] if value.ndim == rank else value for value in found if value.ndim >= rank]
    shapes = {layer.shape[1:] for layer in layers}
    if len(shapes) > 1:
        raise ConfigError(f"Layers differ in the shape of {name!r}: {sorted(shapes)}; they can't be composed.")
    return jnp.concatenate(layers)


def in_order(tree: Mapping[str, Any], name: str) -> list[Any]:
    """What was captured under `name`, the first layer first.

    Raises:
        ConfigError: nothing of that name was captured.
    """
    paths: dict[str, Any] = flax.traverse_util.flatten_dict(dict(tree), sep="/")  # pyright: ignore[reportAssignmentType]
    found = sorted((path for path in paths if path.split("/")[-1] == name), key=_natural)
    if not found:
        raise ConfigError(
            f"The model captured no {name!r}; it captured {', '.join(sorted(paths)) or 'nothing'}. "
            "Its modules must pass the value through spermjax.models.attention.contract.tap."
        )
    return [paths[path] for path in found]


def _natural(path: str) -> list[tuple[int, str]]:
    """Sorts `block_10` after `block_9`."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", path)]


def _without(variables: Variables, collections: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in variables.items() if name not in collections}


def _merge(collections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One tree of all collections: perturbations are filed by path alone."""
    flat = [flax.traverse_util.flatten_dict(dict(tree)) for tree in collections.values()]
    return flax.traverse_util.unflatten_dict({path: value for tree in flat for path, value in tree.items()})
