"""`spermjax models`."""

from collections.abc import Sequence
from typing import Annotated

import tyro

from spermjax.commands.parse import parse, print_json, print_table


def main(arguments: Sequence[str]) -> int:
    """Lists what can be chosen by name."""

    def models(json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False) -> int:
        """List architectures, attention variants, explanation methods and metrics.

        Args:
            json: print JSON.
        """
        from spermjax.interpret.methods import METHODS
        from spermjax.interpret.metrics import METRICS
        from spermjax.models.attention import VARIANTS
        from spermjax.models.build import MODELS

        sections = {
            "models": {name: _first_line(model) for name, model in MODELS.items()},
            "attention": {name: _first_line(variant) for name, variant in VARIANTS.items()},
            "methods": {name: method.citation for name, method in METHODS.items()},
            "metrics": {name: metric.citation for name, metric in METRICS.items()},
        }
        if json:
            print_json(sections)
        else:
            for title, entries in sections.items():
                print_table([title, ""], [*entries.items()])
                print()
        return 0

    return parse(models, arguments, "models")


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").partition("\n")[0]
