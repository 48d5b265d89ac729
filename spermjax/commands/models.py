"""`spermjax models`."""

import dataclasses
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated

import tyro

from spermjax.commands.parse import parse, print_json, print_table
from spermjax.errors import ConfigError, nearest


def main(arguments: Sequence[str]) -> int:
    """Lists what can be chosen by name."""

    def models(
        pattern: Annotated[str, tyro.conf.Positional] = "*",
        image_size: int = 224,
        json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ) -> int:
        """List architectures with their sizes, attention variants, explanation methods and metrics.

        Args:
            pattern: of the names to list, as 'vit_s*'.
            image_size: side in pixels of the image that tokens and operations are counted for.
            json: print JSON.

        Raises:
            ConfigError: nothing has such a name.
        """
        from spermjax.interpret.methods import METHODS
        from spermjax.interpret.metrics import METRICS
        from spermjax.models.attention import VARIANTS
        from spermjax.models.build import MODELS

        registries = {"models": MODELS, "attention": VARIANTS, "methods": METHODS, "metrics": METRICS}
        found = {title: [name for name in of if fnmatchcase(name, pattern)] for title, of in registries.items()}
        if not any(found.values()):
            known = [name for of in registries.values() for name in of]
            raise ConfigError(
                f"No model, attention variant, method or metric is called {pattern!r}. "
                f"{nearest(pattern.strip('*'), known)}"
            )
        sections = {
            "models": [_model(name, image_size) for name in found["models"]],
            "attention": [_variant(name) for name in found["attention"]],
            "methods": [{"name": name, "citation": METHODS[name].citation} for name in found["methods"]],
            "metrics": [{"name": name, "citation": METRICS[name].citation} for name in found["metrics"]],
        }
        if json:
            print_json(sections)
            return 0
        for title, entries in sections.items():
            if entries:
                print_table(list(entries[0]), [[_shown(value) for value in entry.values()] for entry in entries], title)
                print()
        return 0

    return parse(models, arguments, "models")


def _model(name: str, image_size: int) -> dict[str, object]:
    from spermjax.config import Model
    from spermjax.models.attention import VARIANTS
    from spermjax.models.build import MODELS, build_model
    from spermjax.models.describe import describe
    from spermjax.models.pretrained.layouts import publishers

    config = Model(name=name)
    size = describe(config, image_size, num_outputs=2)
    return {
        "name": name,
        **dataclasses.asdict(size),
        "attention": "none" if size.tokens is None else f"{Model().attention}, or another of {len(VARIANTS)}",
        "weights": list(publishers(build_model(config, num_outputs=2))),
        "about": _first_line(MODELS[name]),
    }


def _variant(name: str) -> dict[str, object]:
    from spermjax.models.attention import VARIANTS
    from spermjax.models.attention.options import options_of

    variant = VARIANTS[name]
    return {
        "name": name,
        "rows_sum_to_one": variant.normalised,
        "options": [f"{option}={getattr(variant, option)}" for option in options_of(variant)],
        "about": _first_line(variant),
    }


def _shown(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float | int):
        return _short(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else value


def _short(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return str(value)


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").partition("\n")[0]
