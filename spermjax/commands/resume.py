"""`spermjax resume RUN`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from spermjax import determinism
from spermjax.commands.parse import parse
from spermjax.commands.results import print_run
from spermjax.run import find


def main(arguments: Sequence[str]) -> int:
    """Goes on with a run."""

    def resume(
        run: Annotated[Path, tyro.conf.Positional],
        step: int | None = None,
        json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ) -> int:
        """Go on with a run that was stopped or killed, from its newest whole checkpoint.

        The configuration is the one stored in the run. The result is that of a run that
        was never interrupted.

        Args:
            run: the run folder, such as runs/phantom_quickstart/20260101-120000-seed0.
            step: go on from the checkpoint of this step instead; newer ones are set aside, and what was logged since is
                dropped.
            json: print JSON.
        """
        if find(run).experiment().deterministic:
            determinism.ask()
        from spermjax.workflow.train import resume as go_on

        return print_run(go_on(run, step), as_json=json)

    return parse(resume, arguments, "resume")
