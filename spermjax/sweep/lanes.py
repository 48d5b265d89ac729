"""One compiled step for runs that differ in seeds and numbers alone: `vmap` over the trials of a sweep.

A trial keeps its own state, batches and numbers, side by side with the others' along
a leading axis, the lanes. Lanes are spread over devices; nothing passes between them.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Shaped

from spermjax.config import Experiment
from spermjax.data.batch import BatchIndex, PackedBatch
from spermjax.data.pipeline import gather
from spermjax.parallel import AXIS
from spermjax.parallel.spread import mesh_of
from spermjax.sweep.fields import get, put
from spermjax.train.losses import class_weights
from spermjax.train.optim import optimizer_of
from spermjax.train.session import Session
from spermjax.train.state import TrainState
from spermjax.train.step import make_train_step

TRACED = (
    "seed",
    "optim.learning_rate",
    "optim.weight_decay",
    "optim.beta1",
    "optim.beta2",
    "optim.clip",
    "optim.ema",
    "schedule.final_learning_rate",
    "loss.label_smoothing",
    "guidance.weight",
)
"""Fields that may differ between the lanes of one step."""
_OFF: dict[str, Any] = {"optim.clip": None, "optim.ema": 0.0, "guidance.weight": 0.0}
"""Values with which a part of the step is left out, so that they make another step."""
_NOT_COMPILED = ("tracking.run_id",)


def kind(experiment: Experiment) -> str:
    """The same for experiments that one compiled step can train together."""
    free = {path: 1.0 for path in TRACED if path not in _OFF or get(experiment, path) != _OFF[path]}
    return json.dumps(put(experiment, free | dict.fromkeys(_NOT_COMPILED)).to_dict(), sort_keys=True)


class Lanes:
    """States of several runs, and the step that takes all of them further.

    Args:
        session: of the first run; all share its model, data and devices.
        experiments: of one `kind`, a lane each.
        states: where each run stands.
    """

    def __init__(self, session: Session, experiments: Sequence[Experiment], states: Sequence[TrainState]):
        self._session, self._count = session, len(states)
        differing = [path for path in TRACED if len({get(experiment, path) for experiment in experiments}) > 1]
        numbers = {
            path: np.array([get(experiment, path) for experiment in experiments], _type(path)) for path in differing
        }
        self._numbers = self._place(numbers)
        self._states = self._place(_stack(states))
        self._step = jax.jit(make_lanes_step(session), donate_argnums=1)
        self._one = jax.jit(lambda states, lane: jax.tree.map(lambda x: x[lane], states))

    def step(self, batches: Sequence[PackedBatch | BatchIndex]) -> dict[str, Shaped[Array, "lanes"]]:
        """Takes every lane one step further on its own batch; gives the metrics."""
        resident = self._session.train_step.resident
        self._states, metrics = self._step(self._numbers, self._states, self._place(_stack(batches)), *resident)
        return metrics

    def state(self, lane: int) -> TrainState:
        """The state of a run, on the session's devices."""
        return self._session.place(self._one(self._states, lane))

    def keep(self, lanes: Sequence[int]) -> None:
        """Goes on with these lanes alone, in this order."""
        places = np.array(lanes)
        self._count = len(lanes)
        self._numbers, self._states = (
            self._place(jax.tree.map(lambda x: np.asarray(x)[places], tree)) for tree in (self._numbers, self._states)
        )

    def _place(self, tree: Any) -> Any:
        """Spreads lanes over the session's devices, which the last one is repeated for until they divide them."""
        devices = self._session.devices
        missing = -self._count % len(devices)
        sharding = NamedSharding(mesh_of(devices), PartitionSpec(AXIS))
        padded = jax.tree.map(lambda x: np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]), tree)
        return jax.device_put(padded, sharding)


def make_lanes_step(session: Session) -> Callable[..., tuple[TrainState, dict[str, Array]]]:
    """Builds the step of all lanes from the step of one.

    Args:
        session: of one of the runs.

    Returns:
        `(numbers by field, states, batches, *resident) -> (states, metrics)`; each but the
        resident examples has the lanes as its leading axis.
    """
    experiment, dataset = session.experiment, session.dataset
    weights = class_weights(dataset.task, dataset.splits["train"].label, experiment.loss)

    def step(numbers: dict[str, Array], state: TrainState, batch: Any, *resident: PackedBatch):
        own, total = put(experiment, numbers), session.total_steps
        train_step = make_train_step(own, session.model, dataset.task, optimizer_of(own, total), weights, total, None)
        return train_step(state, gather(resident[0], batch.index) if resident else batch)

    def steps(numbers: dict[str, Array], states: TrainState, batches: Any, *resident: PackedBatch):
        return jax.vmap(lambda *lane: step(*lane, *resident))(numbers, states, batches)

    return steps


def _type(path: str) -> type[np.generic]:
    return np.int32 if path == "seed" else np.float32


def _stack(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
