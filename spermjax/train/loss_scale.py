"""Dynamic loss scaling (Micikevicius et al. 2018): float16 gradients kept clear of zero and of infinity.

The loss is multiplied by a scale before it is differentiated and the gradients are
divided by it in float32. An overflow halves the scale and skips the step; a long row of
good steps doubles it.
"""

from typing import Any, NamedTuple

import flax.struct
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

LARGEST, SMALLEST = 2.0**24, 1.0
"""Bounds of the scale. A gradient that overflows at the smallest is not for want of scaling."""


@flax.struct.dataclass
class LossScale:
    """The scale, and for how long it has done well.

    Attributes:
        value: factor of the loss; a power of two, so that scaling rounds nothing.
        good_steps: steps without overflow since the scale last changed.
    """

    value: Float[Array, ""]
    good_steps: Int[Array, ""]

    def adjusted(self, finite: Bool[Array, ""], every: int) -> "LossScale":
        """The scale after a step.

        Args:
            finite: whether the step's gradients were.
            every: good steps in a row after which the scale doubles.
        """
        good = self.good_steps + 1
        grown = jnp.where(good >= every, jnp.minimum(2.0 * self.value, LARGEST), self.value)
        return LossScale(
            value=jnp.where(finite, grown, jnp.maximum(0.5 * self.value, SMALLEST)),
            good_steps=jnp.where(finite & (good < every), good, 0),
        )


class ScaledState(NamedTuple):
    """State of an optimiser whose gradients come from a scaled loss.

    Attributes:
        scale: of the loss.
        inner: the optimiser's own state.
    """

    scale: LossScale
    inner: optax.OptState


def with_loss_scale(
    optimizer: optax.GradientTransformationExtraArgs, initial: float
) -> optax.GradientTransformationExtraArgs:
    """An optimiser that carries a loss scale in its state; whoever takes a step adjusts it.

    Args:
        optimizer: takes gradients that are divided by the scale already.
        initial: the scale before the first step.
    """

    def init(params: optax.Params) -> Any:
        scale = LossScale(jnp.asarray(initial, jnp.float32), jnp.zeros((), jnp.int32))
        return ScaledState(scale, optimizer.init(params))

    def update(updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None, **extra: Any):
        assert isinstance(state, ScaledState)
        updates, inner = optimizer.update(updates, state.inner, params, **extra)
        return updates, state._replace(inner=inner)

    return optax.GradientTransformationExtraArgs(init, update)


def scale_of(state: optax.OptState) -> LossScale | None:
    """The loss scale in an optimiser's state, or None where the loss is not scaled."""
    return state.scale if isinstance(state, ScaledState) else None


def rescaled(state: optax.OptState, scale: LossScale) -> optax.OptState:
    """The state of a scaled optimiser with another scale."""
    assert isinstance(state, ScaledState)
    return state._replace(scale=scale)
