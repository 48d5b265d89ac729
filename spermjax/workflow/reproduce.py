"""A run once more, from what it recorded, and whether the same came out."""

import dataclasses
import itertools
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from spermjax.config import Experiment
from spermjax.data.examples import load
from spermjax.errors import CheckpointError
from spermjax.run import Run, create, differences, find, read_json, write_json
from spermjax.tracking import open_trackers, read
from spermjax.train.checkpoints import Checkpoints
from spermjax.train.loop import fit, locate
from spermjax.train.session import Session, build_session
from spermjax.validation import validate
from spermjax.workflow.environment import environment
from spermjax.workflow.monitor import make_monitor
from spermjax.workflow.train import Interrupted, describe
from spermjax.workflow.trained import check_same_data


@dataclasses.dataclass(frozen=True)
class Compared:
    """One thing of two runs.

    Attributes:
        what: `environment/...`, a metric, or `params/...`.
        n: values that were compared; 0 where one run lacks them.
        largest: largest absolute difference of them; NaN where there is none to take.
        same: whether all are equal, bit for bit.
        note: what was found then and now, where that is no number.
    """

    what: str
    n: int
    largest: float
    same: bool
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """A run and its repetition.

    Attributes:
        run: folder of the run.
        again: folder of the repetition.
        steps: taken in both.
        environment: what differs of the recorded environments; numbers may be the same all the same.
        numbers: metrics and parameters.
    """

    run: Path
    again: Path
    steps: int
    environment: Sequence[Compared]
    numbers: Sequence[Compared]

    @property
    def same(self) -> bool:
        """Whether every number is the same, bit for bit."""
        return all(compared.same for compared in self.numbers)


def reproduce(path: Path, steps: int | None = None) -> Reproduction:
    """Trains once more from a run's recorded configuration, in a new run folder, and compares.

    Args:
        path: the run folder.
        steps: only so many; parameters are compared where the run has a checkpoint of that step.

    Raises:
        ConfigError: the folder is no run.
        CheckpointError: the run has no whole checkpoint to compare with.
        DataError: the data are not there, or not those of the run.
        Interrupted: by SIGTERM or SIGINT.
    """
    run = find(path)
    experiment = _again(run)
    validate(experiment)
    dataset = load(experiment.data)
    check_same_data(run, dataset)
    session = build_session(experiment, dataset)
    saved = Checkpoints(run.checkpoints, read_only=True).latest_step() if run.checkpoints.is_dir() else None
    if saved is None:
        raise CheckpointError(f"{run.path} has no checkpoint to compare with; finish it with `spermjax resume`.")
    until = min(steps or saved, saved)
    again = create(experiment)
    with again.lock():
        write_json(again.path / "environment.json", environment())
        write_json(again.path / "data.json", describe(dataset))
        position = locate(session, again)
        tracker = open_trackers(
            experiment.tracking, again.path, experiment.to_dict(), resume_step=None, total_steps=until
        )
        try:
            outcome = fit(session, position, make_monitor(session), tracker, until)
        finally:
            tracker.finish()
    if outcome.signum:
        raise Interrupted(f"Stopped by {signal.Signals(outcome.signum).name}; nothing was compared.", outcome.signum)
    then, now = (read_json(folder / "environment.json") for folder in (run.path, again.path))
    return Reproduction(
        run=run.path,
        again=again.path,
        steps=until,
        environment=compare_environments(then, now),
        numbers=[*compare_metrics(read(run.path), read(again.path), until), *_parameters(session, run, again, until)],
    )


def _again(run: Run) -> Experiment:
    experiment = run.experiment()
    names = (f"{run.path.name}-again-{number}" for number in itertools.count(1))
    name = next(name for name in names if not (run.path.parent / name).exists())
    tracking = dataclasses.replace(
        experiment.tracking, runs=run.path.parents[1], run_id=name, wandb="disabled", tensorboard=False
    )
    return dataclasses.replace(experiment, tracking=tracking, name=run.path.parent.name)


def compare_environments(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Compared]:
    """What differs of two recorded environments, but for the command."""
    found = []
    for path in differences({**then, "command": None}, {**now, "command": None}):
        values = [_at(tree, path.split(".")) for tree in (then, now)]
        found.append(Compared(f"environment/{path}", 1, np.nan, False, f"{values[0]} then, {values[1]} now"))
    return found


def _at(tree: Any, path: Sequence[str]) -> Any:
    for name in path:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def compare_metrics(
    then: Sequence[Mapping[str, float | None]], now: Sequence[Mapping[str, float | None]], until: int
) -> list[Compared]:
    """Every logged metric of two runs, up to a step."""
    tables = [
        {
            (name, line["step"]): value
            for line in lines
            if (line["step"] or 0) <= until
            for name, value in line.items()
            if name not in ("step", "time")
        }
        for lines in (then, now)
    ]
    found = []
    for name in sorted({name for table in tables for name, _ in table}):
        steps = {step for table in tables for other, step in table if other == name}
        pairs = [tuple(table.get((name, step), "missing") for table in tables) for step in steps]
        numbers = np.array([pair for pair in pairs if not {None, "missing"} & set(pair)], float).reshape(-1, 2)
        largest = float(np.abs(numbers[:, 0] - numbers[:, 1]).max()) if len(numbers) else np.nan
        missing = sum("missing" in pair for pair in pairs)
        note = f"{missing} of {len(pairs)} in one run alone" if missing else ""
        found.append(Compared(name, len(numbers), largest, all(a == b for a, b in pairs), note))
    return found


def _parameters(session: Session, run: Run, again: Run, step: int) -> list[Compared]:
    """All arrays of two checkpoints of one step, by the state's fields."""
    states = []
    for folder in (run.checkpoints, again.checkpoints):
        checkpoints = Checkpoints(folder, read_only=True)
        try:
            restored = checkpoints.restore(session.abstract_state(), step=step)
        except CheckpointError:
            return [Compared("params", 0, np.nan, True, f"not compared: no checkpoint of step {step}")]
        finally:
            checkpoints.close()
        assert restored is not None
        states.append(restored[0])
    found = []
    for name in ("params", "statistics", "average", "optimizer"):
        pairs = list(zip(*(jax.tree.leaves(getattr(state, name)) for state in states), strict=True))
        if pairs:
            largest = max(float(np.abs(np.asarray(a, float) - np.asarray(b, float)).max(initial=0)) for a, b in pairs)
            same = all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)
            found.append(Compared(name, sum(np.size(a) for a, _ in pairs), largest, same))
    return found
