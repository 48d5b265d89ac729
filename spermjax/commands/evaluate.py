"""`spermjax evaluate RUN`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from spermjax.commands.parse import parse, print_json
from spermjax.commands.results import print_scores


def main(arguments: Sequence[str]) -> int:
    """Scores a run."""

    def evaluate(
        run: Annotated[Path, tyro.conf.Positional],
        split: str = "validation",
        manual_dir: Path | None = None,
        data_dir: Path | None = None,
        views: Literal[1, 2, 4, 8] = 1,
        json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ) -> int:
        """Score a run's best checkpoint on a split, with 95 % intervals.

        Writes evaluation/SPLIT.json and evaluation/SPLIT.csv (one line per example) into
        the run folder. Choose everything on `validation`; look at `test` once, at the end.

        Args:
            run: the run folder.
            split: train, validation or test.
            manual_dir: where the unpacked archive is now, if it moved.
            data_dir: where prepared sets are now, if they moved.
            views: average over the image and its mirror image (2), both upside down too (4), and on their sides (8);
                written to SPLIT-N-views beside the plain scores.
            json: print JSON.
        """
        from spermjax.run import read_json
        from spermjax.workflow.evaluate import evaluate as score
        from spermjax.workflow.evaluate import stored_at
        from spermjax.workflow.trained import load_trained

        trained = load_trained(run, manual_dir=manual_dir, data_dir=data_dir)
        score(trained, split, views=views)
        stored = stored_at(trained.run, split, views)
        if json:
            print_json(read_json(stored))
        else:
            print_scores(read_json(stored))
            print(f"scores: {stored}\npredictions: {stored.with_suffix('.csv')}")
        return 0

    return parse(evaluate, arguments, "evaluate")
