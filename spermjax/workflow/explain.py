"""Explanations of a run: maps, overlays, and what was measured on them."""

import csv
import dataclasses
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from spermjax import parts as parts_lib
from spermjax.data.examples import Dataset, Examples, read_images
from spermjax.data.progress import bar
from spermjax.evaluate.intervals import mean
from spermjax.files import write_atomic
from spermjax.interpret.metrics import METRICS
from spermjax.interpret.suite import Measurements
from spermjax.report.figures import panel
from spermjax.run import write_json
from spermjax.tracking import Tracker
from spermjax.workflow.environment import environment
from spermjax.workflow.evaluate import predict_logits, probabilities, split_of
from spermjax.workflow.images import as_examples
from spermjax.workflow.measure import make_measure
from spermjax.workflow.monitor import choose
from spermjax.workflow.trained import Trained

BASELINES = ("centre_gaussian", "edge_magnitude", "intensity", "random", "uniform")
"""Maps that know nothing of the model: what a method has to beat. Heads are centred, so a blob scores well."""

PANELS = 8
"""Overlays that go to the trackers."""


@dataclasses.dataclass(frozen=True)
class Explanations:
    """What was explained, and where it is stored.

    Attributes:
        folder: holds `examples.npz`, `table.csv`, `summary.json` and `overlays/`.
        rows: mean, interval and count of every metric of every method.
    """

    folder: Path
    rows: list[dict]


def explain(
    trained: Trained,
    split: str = "validation",
    *,
    images: Sequence[Path] = (),
    methods: Sequence[str] = (),
    metrics: Sequence[str] = (),
    examples: int | None = None,
    out: Path | None = None,
    dataset: Dataset | None = None,
    tracker: Tracker | None = None,
) -> Explanations:
    """Explains examples of a split, or image files, and stores all that came of it.

    The explained output is the one with the greatest logit: the predicted class, or the
    attribute judged most abnormal.

    Args:
        trained: the run.
        split: which examples, when no image is named.
        images: image files to explain instead.
        methods: names; empty for those of the experiment.
        metrics: names; empty for those of the experiment, or all that apply.
        examples: how many of the split; None for as many as the experiment says.
        out: folder for the results; inside the run when not given.
        dataset: the run's data, if they are loaded already.
        tracker: receives some of the overlays.

    Raises:
        ConfigError: an unknown method, metric or split.
        DataError: images or data that can't be read.
    """
    interpret, task = trained.experiment.interpret, trained.task
    if images:
        pixels = read_images(images, trained.experiment.data)
        chosen = as_examples(task, pixels, [str(path) for path in images])
        protocol, split = "image files named on the command line", "images"
    else:
        dataset = dataset or trained.dataset()
        whole = split_of(dataset, split)
        chosen = whole.take(choose(whole, examples or interpret.examples))
        protocol = f"{dataset.protocol}; {len(chosen)} of {len(whole)} {split} examples, chosen at random with seed 0"
    folder = out or trained.run.explanations(split)
    logits = predict_logits(trained, chosen)
    targets = logits.argmax(axis=1)
    with bar("explaining", len(chosen), True) as advance:

        def count_up(done: int) -> None:
            for _ in range(done):
                advance()

        measured = make_measure(
            trained.model,
            task,
            trained.devices,
            methods=(*(methods or interpret.methods), *BASELINES),
            metrics=tuple(metrics) or interpret.metrics or None,
            chunk=min(interpret.chunk, len(chosen)),
            has_parts=bool(chosen.has_parts.any()),
            advance=count_up,
        )(trained.variables, chosen, targets)
    shown = {name: np.asarray(values) for name, values in measured.maps.items() if name not in BASELINES}
    rows = summarise(measured, chosen)
    probability = probabilities(task, logits)[np.arange(len(chosen)), targets]
    _store_examples(folder, trained, chosen, logits, targets, probability, shown)
    _store_table(folder, chosen, measured)
    write_json(
        folder / "summary.json",
        {
            "n": len(chosen),
            "groups": len(set(chosen.group)),
            "target": "output with the greatest logit",
            "protocol": protocol,
            "checkpoint_step": trained.step,
            "seed": trained.experiment.seed,
            "command": environment()["command"],
            "rows": rows,
        },
    )
    panels = _store_overlays(folder, chosen, shown)
    if tracker is not None:
        for name, image in panels[:PANELS]:
            tracker.figure(trained.step, f"explanations/{name}", image, name)
    return Explanations(folder, rows)


def summarise(measured: Measurements, examples: Examples) -> list[dict]:
    """Mean over the examples on which a metric is defined, with an interval clustered by group."""
    group = np.array(examples.group)
    rows = []
    for name, values in measured.values.items():
        method, metric = name.split("/", 1)
        interval = mean(np.asarray(values), group, seed=0)
        rows.append(
            {
                "method": method,
                "metric": metric,
                **interval.to_dict(),
                "better": METRICS[metric.partition("/")[0]].better,
                "baseline": method in BASELINES,
            }
        )
    return rows


def _store_examples(
    folder: Path,
    trained: Trained,
    examples: Examples,
    logits: np.ndarray,
    targets: np.ndarray,
    probability: np.ndarray,
    maps: dict[str, np.ndarray],
) -> None:
    predicted = targets if trained.task.kind == "single_label" else (logits > 0).astype(np.int32)
    arrays = {
        "image": examples.image,
        "parts": examples.parts,
        "has_parts": examples.has_parts,
        "id": np.array(examples.id),
        "label": examples.label,
        "predicted": predicted.astype(np.int32),
        "target": targets.astype(np.int32),
        "probability": probability.astype(np.float32),
        **{f"maps/{name}": values.astype(np.float32) for name, values in maps.items()},
    }
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_atomic(folder / "examples.npz", content.getvalue())


def _store_table(folder: Path, examples: Examples, measured: Measurements) -> None:
    text = io.StringIO()
    names = list(measured.values)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "group", *names])
    for i, name in enumerate(examples.id):
        values = (float(measured.values[column][i]) for column in names)
        writer.writerow([name, examples.group[i], *("" if value != value else f"{value:.6g}" for value in values)])
    write_atomic(folder / "table.csv", text.getvalue())


def _store_overlays(folder: Path, examples: Examples, maps: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """One PNG per example: the image with part outlines, then each method's overlay."""
    panels = []
    for i, name in enumerate(examples.id):
        parts = parts_lib.unpack(examples.parts[i])
        image = panel(examples.image[i], parts, np.stack([values[i] for values in maps.values()]), list(maps))
        stem = re.sub(r"[^\w.-]+", "_", name).strip("._")
        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG")
        write_atomic(folder / "overlays" / f"{i:04d}_{stem}.png", content.getvalue())
        panels.append((stem, image))
    return panels
