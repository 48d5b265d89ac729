"""A training step that is mapped over devices."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

AXIS = "data"
"""Name of the axis that splits the batch."""


@dataclasses.dataclass(frozen=True)
class Step:
    """Takes the state and a batch with its leading axis whole (on many hosts: this host's share of it).

    Attributes:
        function: compiled for the devices; it takes what `split` gives.
        split: divides the batch between devices.
        resident: what the function takes besides, on the devices already.
    """

    function: Any
    split: Callable[[Any], Any]
    resident: tuple[Any, ...] = ()

    def __call__(self, state: Any, batch: Any) -> Any:
        """The state after the step (the one before it is donated), and metrics."""
        return self.function(state, self.split(batch), *self.resident)

    def lower(self, state: Any, batch: Any) -> jax.stages.Lowered:
        """The program for these arguments, not yet compiled."""
        return self.function.lower(state, self.split(batch), *self.resident)
