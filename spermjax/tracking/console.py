"""Progress on the terminal: a bar where there is one, plain lines where there is none."""

import sys
import time
from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8
from rich.console import Console as Terminal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

LINE_EVERY_SECONDS = 10.0


class Console:
    """Shows step, rate, time left, the latest loss and the latest validation metric.

    Args:
        first_step: step that the run starts at, or goes on from.
        total_steps: where it ends; None where that isn't known, then no time left is shown.
        metric: name of the validation metric to show.
        terminal: where to; the standard error by default. The bar is drawn where it is a
            terminal; elsewhere a line is written for each validation, and for training
            one each ten seconds.
    """

    def __init__(
        self,
        *,
        first_step: int = 0,
        total_steps: int | None = None,
        metric: str | None = None,
        terminal: Terminal | None = None,
    ):
        self._terminal = terminal or Terminal(file=sys.stderr)
        self._metric = metric
        self._total_steps = total_steps
        self._first = self._step = first_step
        self._start = self._last_line = time.monotonic()
        self._loss: float | None = None
        self._validation: tuple[str, float] | None = None
        self._progress = self._bar() if self._terminal.is_terminal else None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step
        self._loss = values.get("train/loss", self._loss)
        validation = self._validation_metric(values)
        if validation:
            self._validation = validation
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=step, state=self._state())
        elif validation or time.monotonic() - self._last_line >= LINE_EVERY_SECONDS:
            self._last_line = time.monotonic()
            of = f"/{self._total_steps}" if self._total_steps else ""
            self._print(f"step {step}{of}  {self._state()}{self._left()}")

    def figure(self, step: int, name: str, image: UInt8[np.ndarray, "height width 3"], caption: str) -> None:
        """A terminal shows no pictures."""

    def summary(self, values: Mapping[str, float]) -> None:
        """Printed by the command, once the run is complete."""

    def alert(self, title: str, text: str) -> None:
        """Printed by the command, as the error that follows."""

    def complete(self) -> None:
        """Printed by the command."""

    def finish(self) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _bar(self) -> Progress:
        progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            console=self._terminal,
        )
        progress.add_task("train", total=self._total_steps, completed=self._first, state="starting")
        progress.start()
        return progress

    def _print(self, line: str) -> None:
        self._terminal.print(line, markup=False, highlight=False, soft_wrap=True)

    def _validation_metric(self, values: Mapping[str, float]) -> tuple[str, float] | None:
        """The metric asked for, or the first validation metric, if these values hold one."""
        names = [self._metric] if self._metric else [name for name in values if name.startswith("validation/")]
        return next(((name, values[name]) for name in names if name in values), None)

    def _rate(self) -> float:
        return (self._step - self._first) / max(time.monotonic() - self._start, 1e-9)

    def _state(self) -> str:
        parts = [f"{self._rate():.3g} steps/s"]
        if self._loss is not None:
            parts.append(f"loss {self._loss:.4f}")
        if self._validation is not None:
            parts.append("{} {:.4f}".format(*self._validation))
        return "  ".join(parts)

    def _left(self) -> str:
        if not self._total_steps or self._step <= self._first:
            return ""
        seconds = round((self._total_steps - self._step) / self._rate())
        return f"  {seconds // 60} min {seconds % 60:02d} s left"
