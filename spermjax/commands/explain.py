"""`spermjax explain RUN [IMAGE ...]`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from spermjax.commands.parse import interval, parse, print_json, print_table


def main(arguments: Sequence[str]) -> int:
    """Explains a run's predictions."""

    def explain(
        run: Annotated[Path, tyro.conf.Positional],
        images: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
        split: str = "validation",
        methods: tuple[str, ...] = (),
        metrics: tuple[str, ...] = (),
        layers: tuple[int, ...] = (),
        heads: tuple[int, ...] = (),
        examples: int | None = None,
        out: Path | None = None,
        manual_dir: Path | None = None,
        data_dir: Path | None = None,
        json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ) -> int:
        """Explain a run's predictions, and measure the explanations.

        Writes maps (examples.npz), overlays (PNG), values per example (table.csv,
        table.jsonl) and their means with intervals (summary.json), and sends them to
        Weights & Biases as the run's experiment says. Baselines that know nothing of the
        model stand in the same table: a method has to beat them. After a kill, the same
        command goes on where it stopped. `spermjax models` lists methods and metrics.

        Args:
            run: the run folder.
            images: image files to explain instead of a split.
            split: train, validation or test.
            methods: explanation methods; those of the experiment when none is named; `all`.
            metrics: metrics; the standard ones that apply when none is named; `all`.
            layers: layers whose attention is shown, each by itself, such as 0 or -1.
            heads: heads whose attention is shown, each by itself.
            examples: how many examples of the split.
            out: folder for the results; inside the run when not given.
            manual_dir: where the unpacked archive is now, if it moved.
            data_dir: where prepared sets are now, if they moved.
            json: print JSON.
        """
        from spermjax.workflow.explain import explain as explain_run
        from spermjax.workflow.explain import send
        from spermjax.workflow.trained import load_trained

        trained = load_trained(run, manual_dir=manual_dir, data_dir=data_dir)
        result = explain_run(
            trained,
            split,
            images=images,
            methods=methods,
            metrics=metrics,
            layers=layers,
            heads=heads,
            examples=examples,
            out=out,
        )
        send(trained, result)
        if json:
            print_json({"folder": str(result.folder), "rows": result.rows})
        else:
            rows = [(row["method"], row["metric"], interval(row)) for row in result.rows if row["n"]]
            print_table(["method", "metric", "mean [95 % interval]"], rows)
            print(f"explanations: {result.folder}")
        return 0

    return parse(explain, arguments, "explain")
