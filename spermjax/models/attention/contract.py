"""What every attention variant promises, so that every explanation serves every variant.

A layer passes its weights, `[batch, heads, queries, keys]`, through `tap_weights`: they
are stored under the layer's own path in the collection `attention` when that is asked
for, and a perturbation of the same path in the collection `perturbations` is added
when it is given, so that gradients with respect to attention need no second
implementation. When neither is asked for, nothing is computed or kept.

Some models add a token only behind the blocks: the class token of class attention, a
part's query, the reader of sequence pooling. All that such a model captures has a row
and a column for it from the first layer on, and a token that a layer leaves as it is
attends to itself alone, which is what its residual connection does. So layers compose
by matrix products, and the class row means the same for every model.

Leaving patches out asks for `token_mask` in the model's call, `[batch, patches]`. A
model whose attribute `shortens` is true takes `keep` beside it, `[batch, kept]`, indices
of the patches that are in the sequence at all, and needs no time for the others.
"""

import dataclasses
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

ATTENTION = "attention"
FEATURES = "features"
CONTRIBUTIONS = "contributions"
PERTURBATIONS = "perturbations"


@dataclasses.dataclass(frozen=True)
class AttentionSpec:
    """How to read the captured weights of a model.

    Attributes:
        prefix: tokens before the patches (class tokens, registers).
        grid: rows and columns of patches; patch tokens are in row-major order.
        normalised: whether each row of weights is non-negative and sums to one.
        reads: where the logits come from: the class tokens, which come first, or the
            mean over patch tokens. "The class row" of a map of attention is the mean
            of these tokens' rows.
        class_tokens: how many class tokens there are: more than one where each part
            of the cell has its own.
    """

    prefix: int
    grid: tuple[int, int]
    normalised: bool = True
    reads: Literal["class_token", "mean"] = "class_token"
    class_tokens: int = 1


def asked_for(module: nn.Module, collection: str, name: str) -> bool:
    """Whether a value is captured or perturbed; where neither, it need not exist."""
    return module.is_mutable_collection(collection) or module.has_variable(PERTURBATIONS, name)


def tap(module: nn.Module, collection: str, name: str, value: Float[Array, "..."]) -> Float[Array, "..."]:
    """Exposes an intermediate value of a module: captured when asked for, open to perturbation.

    Args:
        module: the module whose path the value is filed under.
        collection: `ATTENTION`, `FEATURES` or `CONTRIBUTIONS`.
        name: the value's name below the module's path.
        value: the value itself.

    Returns:
        The value, plus the perturbation filed under the same path if one is given.
    """
    module.sow(collection, name, value, reduce_fn=lambda _, new: new, init_fn=lambda: value)
    # Flax's perturb asks for a perturbation at every place once there is one at any.
    return module.perturb(name, value, PERTURBATIONS) if module.has_variable(PERTURBATIONS, name) else value


def tap_tokens(
    module: nn.Module, name: str, tokens: Float[Array, "batch tokens width"], readers: int
) -> Float[Array, "batch tokens width"]:
    """Exposes tokens, with zeros first for the `readers` that join behind the blocks."""
    if not (readers and asked_for(module, FEATURES, name)):
        return tap(module, FEATURES, name, tokens)
    return tap(module, FEATURES, name, jnp.pad(tokens, ((0, 0), (readers, 0), (0, 0))))[:, readers:]


def tap_weights(
    module: nn.Module,
    weights: Float[Array, "batch heads queries keys"],
    tokens: int,
    first: tuple[int, int] = (0, 0),
) -> Float[Array, "batch heads queries keys"]:
    """Exposes a layer's weights as one square map over all of the model's tokens.

    Args:
        module: the layer, under whose path they are filed as `weights`.
        weights: of those tokens that the layer updates, over those that they may take from.
        tokens: of the whole model, with those that join behind the blocks.
        first: places of the first query and of the first key among them.

    Returns:
        The weights, perturbed where a perturbation of the square map is given.
    """
    queries, keys = weights.shape[-2:]
    if queries == keys == tokens or not asked_for(module, ATTENTION, "weights"):
        return tap(module, ATTENTION, "weights", weights)
    rows, columns = slice(first[0], first[0] + queries), slice(first[1], first[1] + keys)
    square = jnp.broadcast_to(jnp.eye(tokens, dtype=weights.dtype), (*weights.shape[:2], tokens, tokens))
    square = square.at[:, :, rows].set(0.0).at[:, :, rows, columns].set(weights)
    return tap(module, ATTENTION, "weights", square)[:, :, rows, columns]
