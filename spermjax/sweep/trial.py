"""One trial: from the study's parameters to a finished run and its values."""

import contextlib
import logging
import threading
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from jaxtyping import UInt8
from optuna.trial import Trial, TrialState

from spermjax.config import Experiment
from spermjax.errors import SpermjaxError, nearest
from spermjax.run import Run
from spermjax.sweep import study as studies
from spermjax.sweep.fields import convert, put
from spermjax.sweep.sweepfile import Sweep
from spermjax.sweep.values import reached
from spermjax.tracking import read


class Pruned(SpermjaxError):
    """A trial fell behind the others and was stopped."""


class Taken(SpermjaxError):
    """A trial was given to another worker, since this one seemed dead."""


def configure(sweep: Sweep, base: Experiment, trial: Trial, runs: Path) -> Experiment:
    """The experiment of a trial; its values are drawn now, or as they were drawn before.

    Args:
        sweep: what is varied.
        base: the experiment without it.
        trial: of the study.
        runs: folder of the sweep's runs.
    """
    values: dict[str, Any] = {}
    for parameter in sweep.parameters:
        if parameter.applies(values):
            values[parameter.path] = studies.patient(parameter.suggest, trial)
    own = {"tracking.runs": runs, "tracking.run_id": f"trial-{trial.number:04d}"}
    experiment = put(base, {path: convert(path, value) for path, value in values.items()} | own)
    studies.patient(trial.set_user_attr, studies.VALUES, values)
    studies.patient(trial.set_user_attr, studies.RUN, str(run_folder(experiment)))
    return experiment


def run_folder(experiment: Experiment) -> Path:
    """Where the run of a trial lies."""
    return experiment.tracking.runs / experiment.name / str(experiment.tracking.run_id)


class Watch:
    """A tracker that reports each evaluation to the study and stops a trial that falls behind.

    Args:
        trial: that is being trained.
        sweep: names the metric.
        run: the run's folder.
        lost: is set when the trial was given to another worker.
    """

    def __init__(self, trial: Trial, sweep: Sweep, run: Path, lost: threading.Event):
        self._trial, self._sweep, self._run, self._lost = trial, sweep, run, lost

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if self._lost.is_set():
            raise Taken(f"Trial {self._trial.number} was given to another worker.")
        logged = values.keys()
        if not any(name.startswith("validation/") for name in logged):
            return
        for objective in self._sweep.objectives:
            if objective.name.startswith(("validation/", "interpret/")) and objective.name not in values:
                raise SpermjaxError(f"The run does not log {objective.name!r}. {nearest(objective.name, logged)}")
        if self._sweep.early is None:
            return
        name = self._sweep.objectives[0].name
        evaluations = sum(name in line for line in read(self._run))
        studies.patient(self._trial.report, values[name], evaluations)
        if studies.patient(self._trial.should_prune):
            raise Pruned(f"Trial {self._trial.number} fell behind at step {step}.")

    def figure(self, step: int, name: str, image: UInt8[np.ndarray, "height width 3"], caption: str) -> None:
        """The study keeps no pictures."""

    def summary(self, values: Mapping[str, float]) -> None:
        """Read from the run folder once the run is complete."""

    def artifact(self, name: str, kind: str, folder: Path) -> None:
        """The study keeps no files."""

    def alert(self, title: str, text: str) -> None:
        """The trial's error says it."""

    def complete(self) -> None:
        """The worker reads the run folder."""

    def finish(self) -> None:
        """Nothing is open."""


def objective_values(sweep: Sweep, run: Run) -> list[float]:
    """What a finished run reached: the value in its summary, else the last one that it logged.

    Raises:
        SpermjaxError: the run logged no such value, or it is not a number; the nearest
            names are given.
    """
    known = reached(run.path)
    values = []
    for objective in sweep.objectives:
        if objective.name not in known:
            raise SpermjaxError(f"The run logged no {objective.name!r}. {nearest(objective.name, known)}")
        value = known[objective.name]
        if value is None:
            raise SpermjaxError(f"{objective.name} is undefined for this run.")
        values.append(float(value))
    return values


@contextlib.contextmanager
def leased(study: optuna.Study, trial: Trial, owner: str) -> Iterator[threading.Event]:
    """Renews the lease of a trial while it is being trained.

    Args:
        study: of the sweep.
        trial: claimed by `owner`.
        owner: this worker.

    Yields:
        What is set when the trial was given to another worker.
    """
    lost, ended = threading.Event(), threading.Event()

    def keep() -> None:
        while not ended.wait(studies.RENEW_SECONDS):
            try:
                if not studies.owns(study, trial._trial_id, owner):
                    lost.set()
                    return
                studies.renew(study, trial._trial_id, owner)
            except SpermjaxError as error:
                logging.warning("%s", error)

    threading.Thread(target=keep, daemon=True).start()
    try:
        yield lost
    finally:
        ended.set()


def end(sweep: Sweep, study: optuna.Study, trial: Trial, outcome: Run | Exception) -> str:
    """Tells the study how a trial ended.

    Args:
        sweep: what is searched.
        study: of the sweep.
        trial: that was trained.
        outcome: the finished run, or what ended it before.

    Returns:
        One line on it.

    Raises:
        StorageError: the storage is gone.
    """
    if isinstance(outcome, Run):
        try:
            values = objective_values(sweep, outcome)
        except SpermjaxError as error:
            outcome = error
        else:
            studies.tell(study, trial.number, values, TrialState.COMPLETE)
            return ", ".join(f"{o.name} {v:.4f}" for o, v in zip(sweep.objectives, values, strict=True))
    if isinstance(outcome, Taken):
        return str(outcome)
    if isinstance(outcome, Pruned):
        studies.tell(study, trial.number, None, TrialState.PRUNED)
        return str(outcome)
    traceback.print_exception(outcome)
    said = str(outcome) if isinstance(outcome, SpermjaxError) else f"{type(outcome).__name__}: {outcome}"
    studies.patient(trial.set_user_attr, studies.ERROR, said)
    studies.tell(study, trial.number, None, TrialState.FAIL)
    return f"failed: {said.splitlines()[0]}"


def run_trial(sweep: Sweep, base: Experiment, study: optuna.Study, trial: Trial, owner: str, folder: Path) -> str:
    """Trains a claimed trial to its end and tells the study.

    Args:
        sweep: what is searched.
        base: the experiment that is varied.
        study: with sampler and pruner.
        trial: claimed by `owner`.
        owner: this worker.
        folder: of the sweep.

    Returns:
        One line on how it ended.

    Raises:
        Interrupted: this worker was told to stop; the trial waits for the next.
        StorageError: the storage is gone.
    """
    from spermjax.workflow.train import Interrupted, train

    with leased(study, trial, owner) as lost:
        try:
            experiment = configure(sweep, base, trial, folder / "runs")
            outcome = train(experiment, trackers=[Watch(trial, sweep, run_folder(experiment), lost)])
        except (Interrupted, KeyboardInterrupt):
            studies.give_back(study, trial._trial_id)
            raise
        except studies.StorageError:
            raise
        except Exception as error:
            outcome = error
    return end(sweep, study, trial, outcome)
