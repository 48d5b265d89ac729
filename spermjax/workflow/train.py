"""From an experiment to a run folder with a report in it."""

import contextlib
import dataclasses
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from spermjax.config import Experiment, Hosts
from spermjax.data.examples import Dataset, Examples, load
from spermjax.data.task import Task
from spermjax.determinism import check_backend, check_same_topology
from spermjax.errors import DivergenceError, SpermjaxError
from spermjax.evaluate.classification import selection_metric
from spermjax.models.named import sized
from spermjax.parallel import from_first, is_first, joined
from spermjax.run import Run, create, find, read_json, write_json
from spermjax.tracking import Tracker, Trackers, open_trackers
from spermjax.train.loop import Outcome, fit, locate
from spermjax.train.session import build_session
from spermjax.validation import validate
from spermjax.workflow.agreement import check_same_dataset, check_same_experiment
from spermjax.workflow.environment import environment
from spermjax.workflow.evaluate import evaluate
from spermjax.workflow.explain import explain
from spermjax.workflow.monitor import make_monitor
from spermjax.workflow.trained import check_same_data, load_trained


class Interrupted(SpermjaxError):
    """Training was told to stop by a signal, and has saved what it had."""

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.exit_code = 128 + signum


def train(experiment: Experiment, *, trackers: Sequence[Tracker] = ()) -> Run:
    """Trains, evaluates, explains and reports; a run of the same id goes on where it stopped.

    Of several processes all train and evaluate; the first alone writes, and explains in the end.

    Args:
        experiment: what to run.
        trackers: are told of results after the experiment's own; what they raise ends the run.

    Raises:
        ConfigError: the experiment can't be run as it is.
        DataError: its data are missing or damaged.
        DivergenceError: a loss was not finite.
        Interrupted: by SIGTERM or SIGINT, after saving.
        PeerError: another process of the run failed or was lost.
    """
    validate(experiment)
    with joined(experiment.hosts):
        experiment = dataclasses.replace(experiment, model=sized(experiment.model), hosts=Hosts())
        check_same_experiment(experiment)
        dataset = load(experiment.data)
        run = Run(Path(from_first(lambda: str(create(experiment).path))))
        outcome = _complete(run, experiment, dataset, trackers)
    return _ended(run, outcome)


def resume(path: Path, step: int | None = None, hosts: Hosts | None = None) -> Run:
    """Goes on with a run from its newest whole checkpoint, or that of a step, with the configuration stored in it.

    From an earlier step, newer checkpoints are set aside and later lines of metrics dropped.

    Args:
        path: the run folder; of several processes the first alone reads it.
        step: of a checkpoint.
        hosts: who the other processes are, if there are any.

    Raises:
        ConfigError: the folder is no run.
        CheckpointError: there is no usable checkpoint, or none of that step.
        As `train`.
    """
    hosts = hosts or Hosts()
    validate(Experiment(hosts=hosts))
    with joined(hosts):
        run = Run(Path(from_first(lambda: str(find(path).path))))
        experiment = Experiment.from_dict(from_first(lambda: run.experiment().to_dict()))
        validate(experiment)
        outcome = _complete(run, experiment, load(experiment.data), (), step)
    return _ended(run, outcome)


def _ended(run: Run, outcome: Outcome) -> Run:
    if outcome.signum:
        raise Interrupted(
            f"Stopped by {signal.Signals(outcome.signum).name} after step {outcome.step}, which is saved. "
            f"Continue with: spermjax resume {run.path}",
            outcome.signum,
        )
    return run


def _complete(
    run: Run, experiment: Experiment, dataset: Dataset, trackers: Sequence[Tracker], step: int | None = None
) -> Outcome:
    check_same_dataset(dataset)
    if not is_first():
        return _fit(run, experiment, dataset, (), step)
    with run.lock():
        sign(run, experiment, dataset)
        return _fit(run, experiment, dataset, trackers, step)


def sign(run: Run, experiment: Experiment, dataset: Dataset) -> None:
    """Stores with a run what it is computed with and on, or holds it against what was stored at its start.

    Raises:
        DataError: the data are no longer the same.
        ConfigError: a deterministic run can't be repeated here.
    """
    if (run.path / "data.json").exists():
        check_same_data(run, dataset)
    now = environment()
    if experiment.deterministic:
        check_backend(jax.default_backend())
        if (run.path / "environment.json").exists():
            check_same_topology(read_json(run.path / "environment.json"), now)
    write_json(run.path / "environment.json", now)
    write_json(run.path / "data.json", describe(dataset))


def conclude(run: Run, dataset: Dataset, tracker: Tracker) -> None:
    """Evaluates, explains and reports a run whose last step is taken."""
    from spermjax.report import build_report  # heavy: after training

    trained = load_trained(run.path)
    scores = evaluate(trained, "validation", dataset=dataset)
    explanations = explain(trained, "validation", dataset=dataset, tracker=tracker)
    tracker.summary(
        {f"validation/{name}": interval.value for name, interval in scores.overall.items()}
        | {f"{row['method']}/{row['metric']}": row["value"] for row in explanations.rows if row["n"]}
    )
    build_report(run.path)
    tracker.complete()


def _fit(run: Run, experiment: Experiment, dataset: Dataset, trackers: Sequence[Tracker], step: int | None) -> Outcome:
    session = build_session(experiment, dataset)
    position = locate(session, run, step)
    tracker = Trackers(())
    if is_first():
        tracker = open_trackers(
            experiment.tracking,
            run.path,
            experiment.to_dict(),
            resume_step=position.step,
            total_steps=session.total_steps,
            metric=f"validation/{selection_metric(dataset.task)}",
            others=trackers,
        )
    with contextlib.ExitStack() as stack:
        stack.callback(tracker.finish)
        try:
            outcome = fit(session, position, make_monitor(session), tracker)
        except DivergenceError as error:
            tracker.alert("Training diverged", str(error))
            raise
        if outcome.signum is None and is_first():
            conclude(run, dataset, tracker)
    return outcome


def describe(dataset: Dataset) -> dict[str, Any]:
    """What is stored of the data with a run: enough to trace a result, and to refuse other data."""
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "protocol": dataset.protocol,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "task": dataset.task.to_dict(),
        "splits": {
            split: {
                "n": len(examples),
                "groups": len(set(examples.group)),
                "counts": counts(dataset.task, examples),
                "ids": list(examples.id),
            }
            for split, examples in dataset.splits.items()
        },
    }


def counts(task: Task, examples: Examples) -> dict[str, int]:
    """Examples of each class, or of each side of each attribute."""
    if task.kind == "single_label":
        return {name: int((examples.label == i).sum()) for i, name in enumerate(task.names)}
    return {
        f"{name}/{side}": int(np.sum(examples.label[:, i] == value))
        for i, name in enumerate(task.names)
        for value, side in ((0, "normal"), (1, "abnormal"), (-1, "missing"))
    }
