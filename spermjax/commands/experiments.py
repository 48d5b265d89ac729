"""`spermjax experiments`."""

from collections.abc import Sequence
from typing import Annotated

import tyro

from spermjax.commands.parse import parse, print_json, print_table
from spermjax.workflow import experiments as known


def main(arguments: Sequence[str]) -> int:
    """Lists experiments."""

    def experiments(json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False) -> int:
        """List the experiments that come with the package.

        Args:
            json: print JSON.
        """
        rows = [(name, known.summary(name)) for name in known.names()]
        if json:
            print_json(dict(rows))
        else:
            print_table(["experiment", "what"], rows)
        return 0

    return parse(experiments, arguments, "experiments")
