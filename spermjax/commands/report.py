"""`spermjax report RUN`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from spermjax.commands.parse import parse


def main(arguments: Sequence[str]) -> int:
    """Writes a report."""

    def report(run: Annotated[Path, tyro.conf.Positional]) -> int:
        """Write report/index.html of a run again, from what its folder holds.

        The page is self-contained: it opens anywhere, also without a network.

        Args:
            run: the run folder.
        """
        from spermjax.report import build_report
        from spermjax.run import find

        print(f"report: {build_report(find(run).path)}")
        return 0

    return parse(report, arguments, "report")
