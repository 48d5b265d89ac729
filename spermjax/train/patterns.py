"""Parameters chosen by regular expressions of their whole paths, such as `block_0/attention/.*`."""

import re
from collections.abc import Sequence
from typing import Any

import jax

from spermjax.errors import ConfigError

TRAINED, FROZEN = "trained", "frozen"


def path_of(keys: Sequence[Any]) -> str:
    """`block_0/mlp/out/kernel`."""
    return "/".join(str(key.key) for key in keys)


def partition(params: Any, freeze: Sequence[str]) -> Any:
    """A tree like `params` that says of each parameter whether it is `TRAINED` or `FROZEN`.

    Raises:
        ConfigError: a pattern matches nothing, or all is frozen.
    """
    paths = _paths(params)
    _check_patterns(paths, freeze, "--optim.freeze")
    frozen = {path for path in paths if any(re.fullmatch(pattern, path) for pattern in freeze)}
    if len(frozen) == len(paths):
        raise ConfigError(f"--optim.freeze {' '.join(freeze)} leaves nothing to train; `(?!head/).*` leaves the head.")
    return jax.tree_util.tree_map_with_path(lambda keys, _: FROZEN if path_of(keys) in frozen else TRAINED, params)


def multipliers(params: Any, rates: Sequence[str]) -> Any:
    """A tree like `params` of the multipliers of the learning rate.

    Args:
        params: parameters.
        rates: `pattern=multiplier`; the first pattern that matches a whole path counts.

    Raises:
        ConfigError: an entry is of another form, a pattern matches nothing, or a
            parameter is matched by none; all such parameters are named.
    """
    table = parse_rates(rates)
    paths = _paths(params)
    _check_patterns(paths, list(table), "--optim.learning-rates")
    chosen = {path: next((rate for p, rate in table.items() if re.fullmatch(p, path)), None) for path in paths}
    uncovered = [path for path, rate in chosen.items() if rate is None]
    if uncovered:
        raise ConfigError(
            f"--optim.learning-rates has no pattern for {', '.join(uncovered)}. End it with `.*=1` for the rest."
        )
    return jax.tree_util.tree_map_with_path(lambda keys, _: chosen[path_of(keys)], params)


def parse_rates(rates: Sequence[str]) -> dict[str, float]:
    """`pattern=multiplier` entries as a table, in order.

    Raises:
        ConfigError: naming the first entry of another form.
    """
    table = {}
    for entry in rates:
        pattern, separator, value = entry.rpartition("=")
        try:
            table[pattern] = float(value)
            re.compile(pattern)
            if not separator or not 0 <= table[pattern] < float("inf"):
                raise ValueError
        except (ValueError, re.error):
            raise ConfigError(
                f"--optim.learning-rates {entry!r} is not a regular expression, `=`, and a number of 0 or more"
            ) from None
    return table


def _paths(params: Any) -> list[str]:
    return [path_of(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(params)]


def _check_patterns(paths: Sequence[str], patterns: Sequence[str], option: str) -> None:
    idle = [pattern for pattern in patterns if not any(re.fullmatch(pattern, path) for path in paths)]
    if idle:
        shown = ", ".join(paths[:4])
        raise ConfigError(
            f"{option}: no parameter's whole path matches {', '.join(map(repr, idle))}. Paths are like {shown}."
        )
