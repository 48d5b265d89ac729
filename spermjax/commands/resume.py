"""`spermjax resume RUN`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from spermjax import determinism
from spermjax.commands.parse import parse
from spermjax.commands.results import print_run
from spermjax.config import Hosts
from spermjax.run import find


def main(arguments: Sequence[str]) -> int:
    """Goes on with a run."""

    def resume(
        run: Annotated[Path, tyro.conf.Positional],
        step: int | None = None,
        hosts: Hosts = Hosts(),  # noqa: B008
        json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ) -> int:
        """Go on with a run that was stopped or killed, from its newest whole checkpoint.

        The configuration is the one stored in the run. The result is that of a run that
        was never interrupted.

        Args:
            run: the run folder, such as runs/phantom_quickstart/20260101-120000-seed0.
            step: go on from the checkpoint of this step instead; newer ones are set aside, and what was logged since is
                dropped.
            hosts: as of `spermjax train`.
            json: print JSON.
        """
        if run.is_dir() and find(run).experiment().deterministic:
            determinism.ask()
        from spermjax.workflow.train import resume as go_on

        return print_run(go_on(run, step, hosts), as_json=json)

    return parse(resume, arguments, "resume")
