"""`spermjax predict RUN IMAGE...`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from spermjax.commands.parse import parse, print_json, print_table


def main(arguments: Sequence[str]) -> int:
    """Classifies image files."""

    def predict(
        run: Annotated[Path, tyro.conf.Positional],
        images: Annotated[tuple[Path, ...], tyro.conf.Positional],
        views: Literal[1, 2, 4, 8] = 1,
        json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ) -> int:
        """Classify image files with a run's best checkpoint.

        Args:
            run: the run folder.
            images: image files, cropped and resized as the training data were.
            views: average over the image and its mirror image (2), both upside down too (4), and on their sides (8).
            json: print JSON.
        """
        from spermjax.workflow.predict import predict as classify
        from spermjax.workflow.trained import load_trained

        results = classify(load_trained(run), images, views)
        if json:
            print_json(results)
            return 0
        names = list(results[0]["probability"])
        print_table(
            ["image", "predicted", *names],
            [
                (r["image"], _words(r["predicted"]), *(f"{r['probability'][name]:.3f}" for name in names))
                for r in results
            ],
        )
        return 0

    return parse(predict, arguments, "predict")


def _words(predicted: str | dict[str, str]) -> str:
    """A class, or the attributes that are abnormal."""
    if isinstance(predicted, str):
        return predicted
    return ", ".join(f"{name} {side}" for name, side in predicted.items() if side == "abnormal") or "normal"
