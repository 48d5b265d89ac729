"""All that changes from step to step."""

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int


@flax.struct.dataclass
class TrainState:
    """The state of training; with the configuration and the data it fixes all that follows.

    Attributes:
        step: steps taken.
        params: parameters of the model.
        average: their exponential moving average, or None where none is kept.
        optimizer: state of the optimiser.
    """

    step: Int[Array, ""]
    params: optax.Params
    average: optax.Params | None
    optimizer: optax.OptState

    @property
    def evaluated(self) -> optax.Params:
        """The parameters that are evaluated, explained and exported."""
        return self.params if self.average is None else self.average


def create_state(params: optax.Params, optimizer: optax.GradientTransformation, averaged: bool) -> TrainState:
    """The state before the first step."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        average=jax.tree.map(jnp.copy, params) if averaged else None,
        optimizer=optimizer.init(params),
    )


def update_average(average: optax.Params, params: optax.Params, step: Int[Array, ""], decay: float) -> optax.Params:
    """Exponential moving average whose memory grows with the run, up to `decay`.

    The decay in use is min(decay, (1 + step) / (10 + step)), so that the first, poor
    parameters are soon forgotten.
    """
    decay_now = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda a, p: decay_now * a + (1.0 - decay_now) * p, average, params)
