"""`spermjax doctor`."""

from collections.abc import Sequence
from typing import Annotated

import tyro

from spermjax.commands.parse import parse, print_json, print_table


def main(arguments: Sequence[str]) -> int:
    """Tells the state of the installation."""

    def doctor(json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False) -> int:
        """Tell devices, versions, prepared data sets, free disk and the state of W&B.

        Args:
            json: print JSON.
        """
        from spermjax.workflow.doctor import examine

        facts = examine()
        if json:
            print_json(facts)
        else:
            print_table(["", ""], [(key, _words(value)) for key, value in facts.items()])
        return 0

    return parse(doctor, arguments, "doctor")


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items()) or "none"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
