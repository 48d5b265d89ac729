"""The fields of an experiment by dotted path: which there are, what they take, and setting them."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union

from spermjax.config import Experiment
from spermjax.errors import ConfigError, nearest

SET_BY_THE_SWEEP = ("name", "tracking.run_id", "tracking.runs")


def fields() -> dict[str, Any]:
    """Type of each field of `Experiment`, by dotted path; sections themselves are left out."""
    return dict(_walk(Experiment, ""))


def _walk(cls: type, prefix: str):
    for name, annotation in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
            yield from _walk(annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, annotation


def get(experiment: Experiment, path: str) -> Any:
    """The value at a dotted path."""
    value: Any = experiment
    for name in path.split("."):
        value = getattr(value, name)
    return value


def put(experiment: Experiment, values: Mapping[str, Any]) -> Experiment:
    """The experiment with other values at some dotted paths; it is not validated."""
    for path, value in values.items():
        experiment = _put(experiment, path.split("."), value)
    return experiment


def _put(node: Any, path: list[str], value: Any) -> Any:
    name, *rest = path
    return dataclasses.replace(node, **{name: _put(getattr(node, name), rest, value) if rest else value})


def convert(path: str, value: Any) -> Any:
    """A value from a sweep file as its field takes it.

    Args:
        path: dotted path of a field.
        value: from YAML: a list stands for a tuple, a whole number for a float, text for a path.

    Raises:
        ConfigError: there is no such field, a sweep may not set it, or it takes another type.
    """
    known = fields()
    if path not in known:
        sections = {name.rpartition(".")[0] for name in known} - {""}
        if path in sections:
            inside = ", ".join(name for name in known if name.startswith(path + "."))
            raise ConfigError(f"{path} is a section; sweep one of its fields: {inside}")
        by_last_word = [name for name in known if name.rpartition(".")[2] == path.rpartition(".")[2]]
        hint = f"Did you mean {' or '.join(map(repr, by_last_word))}?" if by_last_word else nearest(path, known)
        raise ConfigError(f"{path} is no field of an experiment. {hint}")
    if path in SET_BY_THE_SWEEP:
        raise ConfigError(f"{path} is set by the sweep itself, so that each run has its own folder")
    try:
        return _fit(known[path], value)
    except TypeError:
        raise ConfigError(f"{path} is {value!r}; it takes {describe(known[path])}") from None


def _fit(annotation: Any, value: Any) -> Any:
    """The value as the annotation asks, or a TypeError."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        for option in arguments:
            try:
                return _fit(option, value)
            except TypeError:
                continue
        raise TypeError
    if origin is Literal:
        if value in arguments:
            return value
        raise TypeError
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise TypeError
        kinds = arguments[:1] * len(value) if arguments[-1:] == (Ellipsis,) else arguments
        if len(kinds) != len(value):
            raise TypeError
        return tuple(_fit(kind, item) for kind, item in zip(kinds, value, strict=True))
    if annotation is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if annotation is Path and isinstance(value, str | Path):
        return Path(value)
    if annotation in (int, bool, str, type(None)) and type(value) is annotation:
        return value
    raise TypeError


def describe(annotation: Any) -> str:
    """What a type takes, in words for an error message."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(option) for option in arguments)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is tuple:
        return f"a list, each item {describe(arguments[0])}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    return words.get(annotation, "nothing (null)" if annotation is type(None) else str(annotation))
