"""Where results go: the run folder always, a terminal, and Weights & Biases."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spermjax.config import Tracking
from spermjax.tracking.console import Console
from spermjax.tracking.jsonl import Jsonl, read
from spermjax.tracking.tensorboard import TensorBoard
from spermjax.tracking.tracker import Tracker, Trackers
from spermjax.tracking.wandb import Wandb, wanted_mode

__all__ = ["Tracker", "Trackers", "open_trackers", "read"]


def open_trackers(
    tracking: Tracking,
    run: Path,
    config: Mapping[str, Any],
    *,
    resume_step: int | None,
    total_steps: int | None = None,
    metric: str | None = None,
    terminal: bool = True,
    others: Sequence[Tracker] = (),
) -> Tracker:
    """Opens all trackers of a run; one process of a job does so.

    Args:
        tracking: the experiment's settings.
        run: the run's folder; made if need be.
        config: the whole experiment as JSON-able values, for Weights & Biases.
        resume_step: step of the checkpoint that the run goes on from, or None.
        total_steps: where training ends, for the time left.
        metric: validation metric to show on the terminal, such as `validation/accuracy`.
        terminal: whether progress is shown there.
        others: are told after these.

    Returns:
        One tracker over all.

    Raises:
        SpermjaxError: the run's folder can't be written.
    """
    trackers: list[Tracker] = [Jsonl(run, resume_step=resume_step)]
    if wanted_mode(tracking.wandb) != "disabled":
        trackers.append(Wandb(tracking, run, config))
    if tracking.tensorboard:
        trackers.append(TensorBoard(run, resume_step=resume_step))
    if terminal:
        trackers.append(Console(first_step=resume_step or 0, total_steps=total_steps, metric=metric))
    return Trackers([*trackers, *others])
