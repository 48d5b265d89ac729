"""The sweep file: W&B's sweep schema, read into types.

What it adds to that schema: `program` names an experiment (`mhsma_vit`, or a Python
file); `metric` may be a list, for several objectives; a parameter may carry `when:
{other.path: value or [values]}`; `early_terminate` may be of type `asha`.
"""

import dataclasses
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from spermjax.errors import ConfigError, nearest
from spermjax.sweep.parameter import Parameter, parse

METHODS = ("grid", "random", "bayes")
KEYS = (
    "program",
    "method",
    "metric",
    "parameters",
    "early_terminate",
    "run_cap",
    "name",
    "description",
    "project",
    "entity",
)
MOST_RUNS = 1000
"""More runs than this are taken for a mistake."""

Goal = Literal["minimize", "maximize"]


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a sweep looks for.

    Attributes:
        name: of a value that runs log, such as `validation/accuracy`.
        goal: `maximize` or `minimize`.
    """

    name: str
    goal: Goal


@dataclasses.dataclass(frozen=True)
class EarlyTerminate:
    """Stopping trials that fall behind.

    Attributes:
        kind: `hyperband` (Li et al. 2018), several brackets, or `asha` (Li et al. 2020), one.
        min_iter: evaluations before a trial may be stopped.
        max_iter: evaluations of a whole run; None where trials themselves tell.
        eta: one in `eta` trials goes on at each rung.
    """

    kind: Literal["hyperband", "asha"]
    min_iter: int = 1
    max_iter: int | None = None
    eta: int = 3


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep file.

    Attributes:
        name: for people, and for the study in a shared storage.
        experiment: name or file of the experiment that is varied.
        method: `grid`, `random`, or `bayes` (TPE).
        objectives: one or more.
        parameters: those that conditions name stand before those that they bind.
        early: when trials are stopped early, if ever.
        run_cap: number of trials, for methods other than grid.
        raw: the file as read.
    """

    name: str
    experiment: str
    method: str
    objectives: tuple[Objective, ...]
    parameters: tuple[Parameter, ...]
    early: EarlyTerminate | None
    run_cap: int | None
    raw: Mapping[str, Any]

    def grid(self) -> list[dict[str, Any]]:
        """Every point of a grid, in order of the file, the last parameter fastest; conditions are obeyed."""
        points: list[dict[str, Any]] = [{}]
        for parameter in self.parameters:
            points = [
                point | ({parameter.path: value} if value is not _ABSENT else {})
                for point in points
                for value in ((parameter.listed() or []) if parameter.applies(point) else [_ABSENT])
            ]
        return points

    def trials(self) -> int:
        """Number of runs."""
        return len(self.grid()) if self.method == "grid" else self.run_cap or 0


_ABSENT = object()


def read(path: Path) -> Sweep:
    """Reads a sweep file; `spermjax.sweep.check` then holds it against the experiment.

    Raises:
        ConfigError: naming every problem of its form.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML 1.1 takes `1e-3` for text; here it is a number."""

    Loader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )
    try:
        raw = yaml.load(path.read_text(), Loader)
    except FileNotFoundError:
        raise ConfigError(f"There is no sweep file {path}. Examples are in experiments/sweeps/.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML: {error}") from None
    return from_dict(raw, str(path), path.stem)


def from_dict(raw: Any, where: str, name: str) -> Sweep:
    """A sweep from what its file holds.

    Args:
        raw: the parsed YAML.
        where: the file, for messages.
        name: used where the file gives none.

    Raises:
        ConfigError: naming every problem of its form.
    """
    if not isinstance(raw, dict):
        raise ConfigError(f"{where} holds no mapping; a sweep file starts with `program:`, `method:`, `parameters:`.")
    problems = [f"{key!r} is no key of a sweep. {nearest(str(key), KEYS)}" for key in raw if key not in KEYS]
    if not isinstance(raw.get("program"), str):
        problems.append("program is missing; it names the experiment, as in `program: mhsma_vit`")
    method = raw.get("method")
    if method not in METHODS:
        problems.append(f"method is {method!r}; choose from {', '.join(METHODS)}")
    cap = raw.get("run_cap")
    if cap is not None and (type(cap) is not int or cap < 1):
        problems.append(f"run_cap is {cap!r}; it takes a whole number above 0")
    elif cap is None and method in ("random", "bayes"):
        problems.append(f"run_cap is missing; {method} needs to be told how many runs to make")
    elif cap is not None and cap > MOST_RUNS:
        problems.append(f"run_cap is {cap}; the most is {MOST_RUNS}")
    objectives = _objectives(raw.get("metric"), problems)
    parameters = _ordered(_parameters(raw.get("parameters"), "", {}, problems), problems)
    early = _early(raw.get("early_terminate"), problems)
    if early and len(objectives) > 1:
        problems.append("early_terminate needs a single metric to compare trials by")
    if method == "grid":
        problems.extend(_too_large(parameters))
    if problems:
        raise ConfigError(f"The sweep {where} can't be run:\n" + "\n".join(f"  - {line}" for line in problems))
    return Sweep(str(raw.get("name") or name), raw["program"], str(method), objectives, parameters, early, cap, raw)


def _objectives(metric: Any, problems: list[str]) -> tuple[Objective, ...]:
    objectives = []
    for item in metric if isinstance(metric, list) else [metric]:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            problems.append(f"metric is {item!r}; it takes {{name: validation/accuracy, goal: maximize}}, or a list")
            continue
        goal = item.get("goal", "minimize")
        if goal not in ("minimize", "maximize"):
            problems.append(f"metric.goal is {goal!r}; choose minimize or maximize")
            continue
        objectives.append(Objective(item["name"], goal))
    return tuple(objectives)


def _parameters(tree: Any, prefix: str, when: Mapping[str, tuple[Any, ...]], problems: list[str]) -> list[Parameter]:
    """Flattens nested `parameters`; a condition on a group holds for all in it."""
    if not isinstance(tree, dict) or not tree:
        problems.append(f"{prefix}parameters is {tree!r}; it maps dotted paths of fields to their values")
        return []
    found = []
    for key, spec in tree.items():
        path = f"{prefix}{key}"
        own = dict(when)
        condition = spec.get("when", {}) if isinstance(spec, dict) else {}
        if not isinstance(condition, dict):
            problems.append(f"{path}: when is {condition!r}; it maps other parameters to their values")
            continue
        own |= {other: tuple(v) if isinstance(v, list) else (v,) for other, v in condition.items()}
        if isinstance(spec, dict) and "parameters" in spec:
            found += _parameters(spec["parameters"], f"{path}.", own, problems)
            continue
        try:
            found.append(parse(path, spec, own))
        except ConfigError as error:
            problems.append(str(error))
    return found


def _ordered(parameters: list[Parameter], problems: list[str]) -> tuple[Parameter, ...]:
    """Parameters in an order in which each stands after those that its condition names."""
    paths = {parameter.path for parameter in parameters}
    for parameter in parameters:
        for other in parameter.when:
            if other not in paths:
                problems.append(f"{parameter.path}: its condition names {other}, which the sweep doesn't set")
    ordered: list[Parameter] = []
    waiting = list(parameters)
    while waiting:
        done = {parameter.path for parameter in ordered}
        ready = [p for p in waiting if {other for other in p.when if other in paths} <= done]
        if not ready:
            problems.append(f"the conditions of {', '.join(p.path for p in waiting)} go in a circle")
            return tuple(parameters)
        ordered += ready
        waiting = [p for p in waiting if p not in ready]
    return tuple(ordered)


def _early(spec: Any, problems: list[str]) -> EarlyTerminate | None:
    if spec is None:
        return None
    if not isinstance(spec, dict) or spec.get("type") not in ("hyperband", "asha"):
        problems.append(f"early_terminate is {spec!r}; it takes {{type: hyperband, min_iter: 2}} or type: asha")
        return None
    # `s` and `strict` are W&B's; Optuna derives the number of brackets from the iterations.
    for key in spec:
        if key not in ("type", "min_iter", "max_iter", "eta", "s", "strict"):
            problems.append(f"early_terminate: {key!r} is no option. {nearest(key, ('min_iter', 'max_iter', 'eta'))}")
    numbers = {key: spec[key] for key in ("min_iter", "max_iter", "eta") if key in spec}
    for key, value in numbers.items():
        if type(value) is not int or value < (2 if key == "eta" else 1):
            problems.append(f"early_terminate.{key} is {value!r}; it takes a whole number above {int(key == 'eta')}")
    return EarlyTerminate(spec["type"], **numbers)


def _too_large(parameters: tuple[Parameter, ...]) -> list[str]:
    continuous = [p.path for p in parameters if p.count() == float("inf")]
    if continuous:
        return [f"a grid can't hold the continuum of {', '.join(continuous)}; list values, or take method: random"]
    sizes = [(p.path, int(p.count())) for p in parameters if p.count() > 1]
    total = list(itertools.accumulate((size for _, size in sizes), lambda a, b: a * b, initial=1))[-1]
    if total <= MOST_RUNS:
        return []
    factors = " x ".join(f"{size} of {path}" for path, size in sizes)
    return [f"the grid has {total:,} points ({factors}); the most is {MOST_RUNS}. Take method: random with a run_cap"]
