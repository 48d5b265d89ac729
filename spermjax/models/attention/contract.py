"""What every attention variant promises, so that every explanation serves every variant.

A layer passes its weights, `[batch, heads, queries, keys]`, through `tap`: they are
stored under the layer's own path in the collection `attention` when that is asked
for, and a perturbation of the same path in the collection `perturbations` is added
when it is given, so that gradients with respect to attention need no second
implementation. When neither is asked for, nothing is computed or kept.
"""

import dataclasses
from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

ATTENTION = "attention"
FEATURES = "features"
PERTURBATIONS = "perturbations"


@dataclasses.dataclass(frozen=True)
class AttentionSpec:
    """How to read the captured weights of a model.

    Attributes:
        prefix: tokens before the patches (class token, registers).
        grid: rows and columns of patches; patch tokens are in row-major order.
        normalised: whether each row of weights is non-negative and sums to one.
        reads: where the logits come from: the class token, which is token 0, or
            the mean over patch tokens. "The class row" of a map of attention is
            that token's row, or the mean of the patch rows.
    """

    prefix: int
    grid: tuple[int, int]
    normalised: bool = True
    reads: Literal["class_token", "mean"] = "class_token"


def tap(module: nn.Module, collection: str, name: str, value: Float[Array, "..."]) -> Float[Array, "..."]:
    """Exposes an intermediate value of a module: captured when asked for, open to perturbation.

    Args:
        module: the module whose path the value is filed under.
        collection: `ATTENTION` or `FEATURES`.
        name: the value's name below the module's path.
        value: the value itself.

    Returns:
        The value, plus the perturbation filed under the same path if one is given.
    """
    module.sow(collection, name, value, reduce_fn=lambda _, new: new, init_fn=lambda: value)
    # Flax's perturb asks for a perturbation at every place once there is one at any.
    return module.perturb(name, value, PERTURBATIONS) if module.has_variable(PERTURBATIONS, name) else value
