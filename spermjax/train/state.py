"""All that changes from step to step."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Int

from spermjax.parallel.fsdp import spec_of
from spermjax.train.spikes import Watch, new_watch

Variables = dict[str, Any]
"""`params`, and `batch_stats` where a model normalises by its batches."""


@flax.struct.dataclass
class TrainState:
    """The state of training; with the configuration and the data it fixes all that follows.

    Attributes:
        step: steps taken.
        params: parameters of the model.
        statistics: the model's other variables: `batch_stats`, or nothing.
        average: exponential moving average of parameters and statistics, or None where
            none is kept.
        optimizer: state of the optimiser.
        watch: what spikes of the loss are told by, or None where they are not looked for.
    """

    step: Int[Array, ""]
    params: optax.Params
    statistics: Variables
    average: Variables | None
    optimizer: optax.OptState
    watch: Watch | None = None

    @property
    def variables(self) -> Variables:
        """What the model is applied to in training."""
        return {"params": self.params, **self.statistics}

    @property
    def evaluated(self) -> Variables:
        """The variables that are evaluated, explained and exported."""
        return self.variables if self.average is None else self.average


def create_state(
    variables: Variables, optimizer: optax.GradientTransformation, averaged: bool, watched: bool = False
) -> TrainState:
    """The state before the first step.

    Args:
        variables: of the model; `params` are trained, the rest follows the data.
        optimizer: transformation of the gradients.
        averaged: whether to keep a moving average.
        watched: whether spikes of the loss are looked for.
    """
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        statistics={name: values for name, values in variables.items() if name != "params"},
        average=jax.tree.map(jnp.copy, variables) if averaged else None,
        optimizer=optimizer.init(variables["params"]),
        watch=new_watch() if watched else None,
    )


def state_specs(state: TrainState, devices: int) -> TrainState:
    """How a state is sliced over devices: parameters, their average and their moments alike, each array by its shape.

    Args:
        state: arrays, or their shapes.
        devices: in the row.

    Returns:
        A PartitionSpec in the place of each array.
    """

    def sliced(tree: Any) -> Any:
        return jax.tree.map(lambda x: spec_of(x.shape, devices), tree)

    def whole(tree: Any) -> Any:
        return jax.tree.map(lambda _: PartitionSpec(), tree)

    average = state.average
    if average is not None:
        average = {name: (sliced if name == "params" else whole)(tree) for name, tree in average.items()}
    return TrainState(
        step=whole(state.step),
        params=sliced(state.params),
        statistics=whole(state.statistics),
        average=average,
        optimizer=sliced(state.optimizer),
        watch=whole(state.watch),
    )


def update_average(average: Variables, variables: Variables, step: Int[Array, ""], decay: float) -> Variables:
    """Exponential moving average whose memory grows with the run, up to `decay`.

    The decay in use is min(decay, (1 + step) / (10 + step)), so that the first, poor
    parameters are soon forgotten.
    """
    decay_now = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda a, p: decay_now * a + (1.0 - decay_now) * p, average, variables)
