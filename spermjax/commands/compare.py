"""`spermjax compare RUN...|SWEEP|GLOB --out DIR`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from spermjax.commands.parse import parse, print_json, print_table


def main(arguments: Sequence[str]) -> int:
    """Compares runs."""

    def compare(
        runs: Annotated[tuple[str, ...], tyro.conf.Positional],
        out: Path,
        by: tuple[str, ...] = (),
        metrics: tuple[str, ...] = (),
        json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ) -> int:
        """Compare runs: one table with intervals and tests, and one page.

        Runs that differ only in seed or fold are repeats of one variant. Runs on different
        splits are refused. Writes index.html, table.csv, tests.csv, runs.csv, table.tex,
        table.md and wandb.json.

        Args:
            runs: run folders, a sweep's folder, or patterns such as 'runs/*/*'.
            out: folder for the results.
            by: fields that make the variants, such as model.attention (default: all that
                differ but seed and fold); other fields that differ pair the runs.
            metrics: names or patterns; the first is the main one.
            json: print JSON.
        """
        from spermjax.sweep.compare import compare as run
        from spermjax.sweep.compare import write
        from spermjax.sweep.compare.write import header, notes, rows, verdict, wandb_report

        result = run(runs, by=by, metrics=metrics)
        page = write(result, out)
        if json:
            print_json(wandb_report(result) | {"page": str(page)})
            return 0
        print_table(header(result), rows(result))
        for note in notes(result):
            print(note)
        print(f"{verdict(result)}\npage: {page}")
        return 0

    return parse(compare, arguments, "compare")
