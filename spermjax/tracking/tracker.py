"""The protocol that every place for results fills, and a tracker over several of them."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import UInt8


class Tracker(Protocol):
    """Where the results of a run go while it is running."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Takes scalars by name (`train/loss`, `validation/accuracy`, `epoch`); steps never fall."""
        ...

    def figure(self, step: int, name: str, image: UInt8[np.ndarray, "height width 3"], caption: str) -> None:
        """Takes a picture, such as a panel of explanations."""
        ...

    def summary(self, values: Mapping[str, float]) -> None:
        """Takes the numbers that stand for the whole run."""
        ...

    def alert(self, title: str, text: str) -> None:
        """Takes word of trouble, such as a loss that is not finite."""
        ...

    def complete(self) -> None:
        """The run folder is whole: scores, explanations and report are in it."""
        ...

    def finish(self) -> None:
        """Writes what is left and closes; called once, also after an error."""
        ...


class Trackers:
    """Several trackers as one; the first is told first."""

    def __init__(self, trackers: Sequence[Tracker]):
        self._trackers = tuple(trackers)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.log(step, values)

    def figure(self, step: int, name: str, image: UInt8[np.ndarray, "height width 3"], caption: str) -> None:
        for tracker in self._trackers:
            tracker.figure(step, name, image, caption)

    def summary(self, values: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.summary(values)

    def alert(self, title: str, text: str) -> None:
        for tracker in self._trackers:
            tracker.alert(title, text)

    def complete(self) -> None:
        for tracker in self._trackers:
            tracker.complete()

    def finish(self) -> None:
        with contextlib.ExitStack() as stack:
            for tracker in reversed(self._trackers):
                stack.callback(tracker.finish)
