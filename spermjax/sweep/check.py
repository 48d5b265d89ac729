"""A sweep held against the experiment that it varies, before anything runs."""

from pathlib import Path
from typing import Any

import numpy as np

from spermjax.config import Experiment
from spermjax.data.catalogue import builder_class
from spermjax.errors import ConfigError, nearest
from spermjax.evaluate.classification import quick
from spermjax.interpret.metrics import METRICS
from spermjax.parts import REGIONS
from spermjax.sweep.fields import convert, fields, put
from spermjax.sweep.sweepfile import Sweep
from spermjax.validation import problems as of_experiment

_TRAINING = ("loss", "classification_loss", "guidance_loss", "gradient_norm", "learning_rate")


def check(sweep: Sweep, base: Experiment) -> None:
    """Names all that is wrong with a sweep at once.

    Each point of a grid is validated as an experiment of its own; for other methods,
    each choice and both ends of each range.

    Raises:
        ConfigError: with every problem.
    """
    problems = []
    for parameter in sweep.parameters:
        for value in parameter.probes():
            try:
                convert(parameter.path, value)
            except ConfigError as error:
                if str(error) not in problems:
                    problems.append(str(error))
                if parameter.path not in fields():
                    break
    if not problems:
        problems += _of_points(sweep, base)
        problems += _of_metrics(sweep, base)
    if problems:
        raise ConfigError(f"The sweep {sweep.name!r} can't be run:\n" + "\n".join(f"  - {line}" for line in problems))


def _of_points(sweep: Sweep, base: Experiment) -> list[str]:
    if sweep.method == "grid":
        points = sweep.grid()
    else:
        typical = {p.path: p.probes()[0] for p in sweep.parameters if not p.when}
        points = [typical | {p.path: value} for p in sweep.parameters for value in p.probes()]
    found: dict[str, str] = {}
    for point in points:
        values = {path: convert(path, value) for path, value in point.items()}
        for line in of_experiment(put(base, values)):
            found.setdefault(line, ", ".join(f"{path}={value}" for path, value in point.items()))
    return [f"{line} (with {point})" for line, point in found.items()]


def _of_metrics(sweep: Sweep, base: Experiment) -> list[str]:
    known = loggable(base)
    problems = []
    for objective in sweep.objectives:
        if objective.name not in known:
            problems.append(f"no run logs the metric {objective.name!r}. {nearest(objective.name, known)}")
        elif sweep.early and not objective.name.startswith(("validation/", "interpret/")):
            problems.append(
                f"early_terminate needs a metric that is logged at each evaluation, and {objective.name!r} is not; "
                f"take one that starts with validation/ or interpret/"
            )
    return problems


def loggable(experiment: Experiment) -> set[str]:
    """Names of all values that a run of this experiment logs or leaves in its summary."""
    from spermjax.data.examples import task_of

    cls, configuration = builder_class(experiment.data.name)
    builder = cls(data_dir=Path(experiment.data.data_dir or "."), config=configuration)
    features: Any = builder.info.features
    task, has_parts = task_of(builder), "parts" in features
    logits = np.zeros((2, task.num_outputs))
    label = np.zeros((2,) if task.kind == "single_label" else logits.shape, np.int32)
    names = {f"train/{name}" for name in _TRAINING if name != "guidance_loss" or experiment.guidance.weight > 0}
    names |= {f"validation/{name}" for name in quick(task, logits, label)}
    interpret = experiment.interpret
    for metric in METRICS.values():
        if (metric.of_masks and not has_parts) or not (metric.standard or metric.name in interpret.metrics):
            continue
        ends = [metric.name]
        if metric.needs & {"regions", "coverage"}:
            ends = [f"{metric.name}/{name}" for name in REGIONS]
        during = ("attention",) if metric.of_attention else interpret.during_training
        finally_ = ("attention",) if metric.of_attention else interpret.methods
        if "model" not in metric.needs:
            names |= {f"interpret/{method}/{end}" for method in during for end in ends}
        if not interpret.metrics or metric.name in interpret.metrics:
            names |= {f"{method}/{end}" for method in finally_ for end in ends}
    return names
