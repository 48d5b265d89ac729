"""A training step that is mapped over devices."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

AXIS = "data"
"""Name of the axis that splits the batch."""
STOP = "stop"
"""The metric that tells all processes of a signal to one of them."""


@dataclasses.dataclass(frozen=True)
class Step:
    """Takes the state and a batch with its leading axis whole (on many hosts: this host's share of it).

    Attributes:
        function: compiled for the devices; it takes what `split` gives.
        split: divides the batch between devices.
        resident: what the function takes besides, on the devices already.
        agreeing: devices of this process, where it is one of several (see `agreeing`); else 0.
    """

    function: Any
    split: Callable[[Any], Any]
    resident: tuple[Any, ...] = ()
    agreeing: int = 0

    def __call__(self, state: Any, batch: Any, signum: int = 0) -> Any:
        """The state after the step (the one before it is donated), and metrics.

        Args:
            state: on the devices.
            batch: this process's share of it.
            signum: the signal that asked this process to stop; of several processes, all
                find the greatest under `STOP` in the metrics.
        """
        return self.function(state, self._given(batch, signum), *self.resident)

    def lower(self, state: Any, batch: Any) -> jax.stages.Lowered:
        """The program for these arguments, not yet compiled."""
        return self.function.lower(state, self._given(batch, 0), *self.resident)

    def _given(self, batch: Any, signum: int) -> Any:
        return self.split((batch, np.full(self.agreeing, signum, np.int32)) if self.agreeing else batch)


def agreeing(step: Callable) -> Callable:
    """A step that takes a signal number beside the batch, and tells the greatest of all devices in its metrics."""

    def agreed(state: Any, given: Any, *resident: Any) -> Any:
        batch, signum = given
        state, metrics = step(state, batch, *resident)
        return state, {**metrics, STOP: jax.lax.pmax(signum[0], AXIS)}

    return agreed
