"""One hyperparameter of a sweep: which values it may take, and how a search draws them.

The distributions are those of W&B's sweep schema. What Optuna has no distribution of
its own for (normal, beta, inverse-logarithmic) is searched as the share u in (0, 1) of
the distribution that lies below the value, and the value is its quantile at u.
"""

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from spermjax.errors import ConfigError, nearest

if TYPE_CHECKING:
    import optuna

_BOUNDS, _NORMAL, _BETA = ("min", "max"), ("mu", "sigma"), ("a", "b")
OPTIONS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "categorical_w_probabilities": ("values", "probabilities"),
    "int_uniform": _BOUNDS,
    "uniform": _BOUNDS,
    "q_uniform": (*_BOUNDS, "q"),
    "log_uniform": _BOUNDS,
    "log_uniform_values": _BOUNDS,
    "q_log_uniform": (*_BOUNDS, "q"),
    "q_log_uniform_values": (*_BOUNDS, "q"),
    "inv_log_uniform": _BOUNDS,
    "inv_log_uniform_values": _BOUNDS,
    "normal": _NORMAL,
    "q_normal": (*_NORMAL, "q"),
    "log_normal": _NORMAL,
    "q_log_normal": (*_NORMAL, "q"),
    "beta": _BETA,
    "q_beta": (*_BETA, "q"),
}
_DEFAULTS = {"mu": 0.0, "sigma": 1.0, "q": 1.0}
_TAIL = 1e-3
"""Share of a distribution without bounds that is cut off at either end."""


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A field that a sweep sets.

    Attributes:
        path: dotted path in the experiment.
        distribution: a key of `OPTIONS`.
        options: that distribution's: `value`, `values`, `min` and `max`, ...
        when: the parameter is drawn only where these others have one of these values;
            elsewhere the experiment's own value stays.
    """

    path: str
    distribution: str
    options: Mapping[str, Any]
    when: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether the parameter is drawn, given those before it."""
        return all(values.get(path) in allowed for path, allowed in self.when.items())

    def listed(self) -> list[Any] | None:
        """All values in order, or None where they form a continuum."""
        options = self.options
        if self.distribution == "constant":
            return [options["value"]]
        if self.distribution.startswith("categorical"):
            return list(options["values"])
        if self.distribution == "int_uniform":
            return list(range(options["min"], options["max"] + 1))
        if self.distribution == "q_uniform":
            count = math.floor((options["max"] - options["min"]) / options["q"] + 1e-9)
            return [_round(options["min"] + step * options["q"], options["q"]) for step in range(count + 1)]
        return None

    def count(self) -> float:
        """How many values there are; infinite for a continuum."""
        if self.distribution == "int_uniform":
            return self.options["max"] - self.options["min"] + 1
        listed = self.listed()
        return math.inf if listed is None else len(listed)

    def probes(self) -> list[Any]:
        """Values at which a check meets every kind of problem: all choices, or both ends."""
        if self.distribution in ("constant", "categorical", "categorical_w_probabilities"):
            return self.listed() or []
        if self.distribution in ("int_uniform", "uniform"):
            return [self.options["min"], self.options["max"]]
        return [self._quantile(_TAIL), self._quantile(1 - _TAIL)]

    def suggest(self, trial: "optuna.trial.BaseTrial") -> Any:
        """Draws a value, by the study's sampler or as the trial has it fixed."""
        options, name = self.options, self.path
        match self.distribution:
            case "constant":
                return options["value"]
            case "categorical":
                by_choice = {choice(value): value for value in options["values"]}
                return by_choice[trial.suggest_categorical(name, list(by_choice))]
            case "int_uniform":
                return trial.suggest_int(name, options["min"], options["max"])
            case "uniform":
                return trial.suggest_float(name, options["min"], options["max"])
            case "q_uniform":
                return trial.suggest_float(name, options["min"], options["max"], step=options["q"])
            case "log_uniform_values":
                return trial.suggest_float(name, options["min"], options["max"], log=True)
            case "log_uniform":
                return trial.suggest_float(name, math.exp(options["min"]), math.exp(options["max"]), log=True)
        return self._quantile(trial.suggest_float(f"share below {name}", _TAIL, 1 - _TAIL))

    def _quantile(self, share: float) -> Any:
        from scipy import stats

        options, kind = self.options, self.distribution
        low, high = float(options.get("min", 0.0)), float(options.get("max", 1.0))
        if kind == "categorical_w_probabilities":
            cumulative = list(itertools.accumulate(options["probabilities"]))
            return options["values"][next(i for i, c in enumerate(cumulative) if share * cumulative[-1] <= c)]
        if kind.endswith("log_uniform"):
            low, high = math.exp(low), math.exp(high)
        plain = kind.removeprefix("q_").removesuffix("_values")
        quantile: dict[str, Callable[[], Any]] = {
            "uniform": lambda: low + share * (high - low),
            "log_uniform": lambda: low * (high / low) ** share,
            "inv_log_uniform": lambda: low + high - low * (high / low) ** (1 - share),
            "normal": lambda: stats.norm.ppf(share, options["mu"], options["sigma"]),
            "log_normal": lambda: math.exp(stats.norm.ppf(share, options["mu"], options["sigma"])),
            "beta": lambda: stats.beta.ppf(share, options["a"], options["b"]),
        }
        value = float(quantile[plain]())
        return _round(value, options["q"]) if kind.startswith("q_") else value


def choice(value: Any) -> bool | int | float | str | None:
    """A categorical value as Optuna stores it: a list becomes its JSON text."""
    return json.dumps(value) if isinstance(value, list | tuple) else value


def _round(value: float, q: float) -> float | int:
    """The nearest multiple of q; a whole number where q is whole."""
    multiple = round(value / q) * q
    return round(multiple) if isinstance(q, int) or float(q).is_integer() else float(f"{multiple:.12g}")


def parse(path: str, spec: Any, when: Mapping[str, tuple[Any, ...]]) -> Parameter:
    """Reads what a sweep file says of one parameter.

    Args:
        path: its dotted path.
        spec: `{values: [...]}`, `{min: ..., max: ...}` and so on.
        when: its condition.

    Raises:
        ConfigError: an unknown option or distribution, or one that lacks what it needs.
    """
    if not isinstance(spec, dict):
        raise ConfigError(f"{path} is {spec!r}; it takes a mapping such as {{values: [1, 2]}} or {{min: 0, max: 1}}")
    given = {key: value for key, value in spec.items() if key not in ("distribution", "when")}
    distribution = spec.get("distribution") or _default(given)
    if distribution is None:
        raise ConfigError(f"{path} has no value, values, or min and max")
    if distribution not in OPTIONS:
        raise ConfigError(f"{path} names the distribution {distribution!r}. {nearest(str(distribution), OPTIONS)}")
    wanted = OPTIONS[distribution]
    options = {key: _DEFAULTS[key] for key in wanted if key in _DEFAULTS} | given
    for key in given:
        if key not in wanted:
            raise ConfigError(f"{path}: {distribution} takes {', '.join(wanted)}, not {key!r}")
    missing = [key for key in wanted if key not in options]
    if missing:
        raise ConfigError(f"{path}: {distribution} needs {' and '.join(missing)}")
    problem = _problem(distribution, options)
    if problem:
        raise ConfigError(f"{path}: {problem}")
    return Parameter(path, distribution, options, when)


def _default(given: Mapping[str, Any]) -> str | None:
    """The distribution that W&B takes where none is named."""
    if "value" in given:
        return "constant"
    if "values" in given:
        return "categorical_w_probabilities" if "probabilities" in given else "categorical"
    if "min" in given and "max" in given:
        return "int_uniform" if isinstance(given["min"], int) and isinstance(given["max"], int) else "uniform"
    return None


def _problem(distribution: str, options: Mapping[str, Any]) -> str | None:
    for key, value in options.items():
        if key in ("values", "probabilities"):
            if not isinstance(value, list) or not value:
                return f"{key} is {value!r}; it takes a list of at least one item"
        elif key != "value" and (isinstance(value, bool) or not isinstance(value, int | float)):
            return f"{key} is {value!r}; it takes a number"
    if "min" in options and options["min"] > options["max"]:
        return f"min {options['min']} is above max {options['max']}"
    if distribution == "int_uniform" and not all(isinstance(options[key], int) for key in ("min", "max")):
        return "int_uniform takes whole numbers"
    if distribution.endswith("log_uniform_values") and options["min"] <= 0:
        return f"min is {options['min']}; a logarithm needs it above 0"
    for key in ("q", "sigma", "a", "b"):
        if key in options and options[key] <= 0:
            return f"{key} is {options[key]}; it must be above 0"
    if len({json.dumps(value) for value in options.get("values", [])}) < len(options.get("values", [])):
        return "values holds one value twice"
    if "probabilities" in options and len(options["probabilities"]) != len(options["values"]):
        return f"{len(options['values'])} values with {len(options['probabilities'])} probabilities"
    return None
