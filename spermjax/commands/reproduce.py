"""`spermjax reproduce RUN`."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from spermjax import determinism
from spermjax.commands.parse import parse, print_json, print_table
from spermjax.run import find


def main(arguments: Sequence[str]) -> int:
    """Trains a run once more and compares."""

    def reproduce(
        run: Annotated[Path, tyro.conf.Positional],
        steps: int | None = None,
        json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ) -> int:
        """Train once more from what a run recorded, into a new run folder beside it, and compare bit for bit.

        Ends with 1 where a metric or a parameter differs. Differences of the recorded environment (versions, devices,
        commit) are shown; they alone do not count.

        Args:
            run: the run folder.
            steps: only so many steps; parameters are compared where the run has a checkpoint of that step.
            json: print JSON.
        """
        if find(run).experiment().deterministic:
            determinism.ask()
        from spermjax.workflow.reproduce import reproduce as repeat

        result = repeat(run, steps)
        rows = [*result.environment, *result.numbers]
        if json:
            plain = [dataclasses.asdict(row) | {"largest": _or_none(row.largest)} for row in rows]
            folders = {"run": str(result.run), "again": str(result.again), "steps": result.steps}
            print_json({**folders, "same": result.same, "rows": plain})
        else:
            table = [
                (row.what, row.n, "-" if math.isnan(row.largest) else f"{row.largest:.3g}", _verdict(row), row.note)
                for row in rows
            ]
            print_table(["what", "values", "largest difference", "same", ""], table)
            print(f"{'the same' if result.same else 'NOT the same'} after {result.steps} steps: {result.again}")
        return 0 if result.same else 1

    return parse(reproduce, arguments, "reproduce")


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _verdict(row) -> str:
    return "-" if not row.n else "yes" if row.same else "no"
