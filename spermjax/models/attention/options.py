"""Options of an attention variant, as `key=value` words checked against its fields."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, get_type_hints

from spermjax.errors import nearest
from spermjax.models.attention import VARIANTS
from spermjax.models.attention.base import SelfAttention


def options_of(variant: type[SelfAttention]) -> dict[str, type]:
    """Names and types of a variant's own options."""
    shared = {field.name for field in dataclasses.fields(SelfAttention)}
    hints = get_type_hints(variant)
    return {field.name: hints[field.name] for field in dataclasses.fields(variant) if field.name not in shared}


def parse_options(name: str, words: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """Reads the options of a variant.

    Args:
        name: of the variant, a known one.
        words: each `key=value`.

    Returns:
        Values by name, and what is wrong with the words that gave none.
    """
    known = options_of(VARIANTS[name])
    values: dict[str, Any] = {}
    problems = []
    for word in words:
        key, separator, text = word.partition("=")
        if not separator:
            problems.append(f"{word!r} is not of the form key=value")
        elif key not in known:
            problems.append(f"{word!r}: {name} has no option {key!r}. {_elsewhere(key, known)}")
        elif key in values:
            problems.append(f"{word!r} gives {key} a second time")
        else:
            try:
                values[key] = _read(text, known[key])
            except ValueError:
                problems.append(f"{word!r}: {key} must be {_KINDS[known[key]]}")
    return values, problems


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}


def _read(text: str, kind: Any) -> Any:
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(text)
        return text == "true"
    value = kind(text)
    if kind is float and not math.isfinite(value):
        raise ValueError(text)
    return value


def _elsewhere(key: str, known: dict[str, type]) -> str:
    others = [name for name, variant in VARIANTS.items() if key in options_of(variant)]
    if others:
        return f"It is an option of {' and '.join(others)}."
    return nearest(key, known)
