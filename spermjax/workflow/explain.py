"""Explanations of a run: maps, overlays, and what was measured on them."""

import csv
import dataclasses
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from spermjax import parts as parts_lib
from spermjax.config import Model
from spermjax.data.examples import Dataset, Examples, read_images
from spermjax.data.progress import bar
from spermjax.errors import ConfigError
from spermjax.evaluate.comparison import compare, kendall_w
from spermjax.evaluate.intervals import mean
from spermjax.files import write_atomic
from spermjax.interpret.methods import METHODS, Method
from spermjax.interpret.metrics import METRICS
from spermjax.interpret.suite import Measurements
from spermjax.models.build import attention_layers
from spermjax.models.named import sized
from spermjax.run import write_json
from spermjax.tracking import Tracker
from spermjax.tracking.wandb import Wandb, wanted_mode
from spermjax.workflow.environment import environment
from spermjax.workflow.evaluate import predict_logits, probabilities, split_of
from spermjax.workflow.heads import LOG10_WEIGHT, make_head_histogram
from spermjax.workflow.images import as_examples
from spermjax.workflow.measure import make_measure
from spermjax.workflow.monitor import choose
from spermjax.workflow.pieces import Pieces
from spermjax.workflow.trained import Trained

BASELINES = ("centre_gaussian", "edge_magnitude", "intensity", "random", "uniform")
"""Maps that know nothing of the model: what a method has to beat. Heads are centred, so a blob scores well."""

PANELS = 8
"""Overlays that go to the trackers."""


@dataclasses.dataclass(frozen=True)
class Explanations:
    """What was explained, and where it is stored.

    Attributes:
        folder: holds `examples.npz`, `table.csv`, `table.jsonl`, `summary.json`, `overlays/`, and
            `attention.npz` where the model has attention: its weights by layer, head and size.
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
    layers: Sequence[int] = (),
    heads: Sequence[int] = (),
    examples: int | None = None,
    out: Path | None = None,
    dataset: Dataset | None = None,
    tracker: Tracker | None = None,
) -> Explanations:
    """Explains examples of a split, or image files, and stores all that came of it.

    The explained output is the one with the greatest logit: the predicted class, or the
    attribute judged most abnormal. Finished pieces are stored, so a second call after a
    kill goes on where the first one stopped.

    Args:
        trained: the run.
        split: which examples, when no image is named.
        images: image files to explain instead.
        methods: names; empty for those of the experiment, `all` for all that apply.
        metrics: names; empty for those of the experiment, or the standard ones that
            apply; `all` for all that apply.
        layers: layers whose attention is shown, each by itself, in place of the last's.
        heads: heads that are shown, each by itself, in place of their mean.
        examples: how many of the split; None for as many as the experiment says.
        out: folder for the results; inside the run when not given.
        dataset: the run's data, if they are loaded already.
        tracker: receives some of the overlays.

    Raises:
        ConfigError: an unknown method, metric, layer, head or split.
        DataError: images or data that can't be read.
    """
    interpret, task = trained.experiment.interpret, trained.task
    wanted = choose_methods(methods or interpret.methods, layers, heads, trained.experiment.model)
    measures = tuple(METRICS) if tuple(metrics) == ("all",) else tuple(metrics) or interpret.metrics or None
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
    pieces = Pieces(
        folder / "pieces",
        {
            "run": str(trained.run.path.name),
            "step": trained.step,
            "methods": [method.name for method in wanted],
            "metrics": measures,
            "at_once": [interpret.chunk, len(trained.devices)],
            "ids": chosen.id,
            "pixels": hashlib.sha256(chosen.image.tobytes() + chosen.parts.tobytes()).hexdigest(),
        },
    )
    with bar("explaining", len(chosen), True) as advance:

        def count_up(done: int) -> None:
            for _ in range(done):
                advance()

        measured = make_measure(
            trained.model,
            task,
            trained.devices,
            methods=(*wanted, *(METHODS[name] for name in BASELINES)),
            metrics=measures,
            chunk=interpret.chunk,
            has_parts=bool(chosen.has_parts.any()),
            pieces=pieces,
            advance=count_up,
        )(trained.variables, chosen, targets)
    shown = {name: np.asarray(values) for name, values in measured.maps.items() if name not in BASELINES}
    rows = summarise(measured, chosen)
    probability = probabilities(task, logits)[np.arange(len(chosen)), targets]
    _store_examples(folder, trained, chosen, logits, targets, probability, shown)
    _store_table(folder, chosen, measured)
    if hasattr(trained.model, "attention_spec"):
        at_once = min(interpret.chunk, len(chosen))
        count = make_head_histogram(trained.model, trained.devices, at_once)(trained.variables, chosen)
        _store_arrays(folder / "attention.npz", {"count": count, "log10_weight": LOG10_WEIGHT})
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
            "against_baseline": against_baseline(measured, chosen),
        },
    )
    panels = _store_overlays(folder, chosen, shown)
    pieces.clear()
    if tracker is not None:
        for name, image in panels[:PANELS]:
            tracker.figure(trained.step, f"explanations/{name}", image, name)
    return Explanations(folder, rows)


def send(trained: Trained, explanations: Explanations) -> None:
    """Sends means, a table of cells, and the folder as an artifact to Weights & Biases, if that is wanted."""
    tracking = trained.experiment.tracking
    if wanted_mode(tracking.wandb) == "disabled":
        return
    tracker = Wandb(tracking, trained.run.path, trained.experiment.to_dict())
    name = f"explanations/{explanations.folder.name}"
    tracker.summary({f"{name}/{row['method']}/{row['metric']}": row["value"] for row in explanations.rows if row["n"]})
    tracker.explanations(explanations.folder)
    tracker.artifact(f"{trained.run.path.name}-{explanations.folder.name}", "explanations", explanations.folder)
    tracker.finish()


def choose_methods(
    names: Sequence[str], layers: Sequence[int], heads: Sequence[int], model: Model
) -> tuple[Method, ...]:
    """Methods by name, without the baselines, and raw attention of the layers and heads that are named.

    Raises:
        ConfigError: an unknown method, or a layer or head that the model doesn't have.
    """
    named = METHODS if tuple(names) == ("all",) else names
    methods = {name: METHODS[name] for name in named if name not in BASELINES}
    depth = attention_layers(model)
    problems = [
        f"--{option} names {number}; the model has {count}, from 0 to {count - 1}"
        for option, numbers, count, least in (
            ("layers", layers, depth, -depth),
            ("heads", heads, sized(model).heads, 0),
        )
        for number in numbers
        if not least <= number < count
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    if layers or heads:
        methods.pop("raw_attention", None)
        for layer in layers or (-1,):
            for head in heads or ("mean",):
                name = f"raw_attention_layer_{layer % depth}" + ("" if head == "mean" else f"_head_{head}")
                methods[name] = METHODS["raw_attention"].using(name, layer=layer, fusion=head)
    return tuple(methods.values())


def summarise(measured: Measurements, examples: Examples) -> list[dict]:
    """Mean over the examples on which a metric is defined, with an interval clustered by group.

    The last row is how far the methods agree on the order of pixels (Kendall's W).
    """
    group = np.array(examples.group)
    rows = []
    for name, values in measured.values.items():
        method, metric = name.split("/", 1)
        rows.append(
            {
                "method": method,
                "metric": metric,
                **mean(np.asarray(values), group, seed=0).to_dict(),
                "better": METRICS[metric.partition("/")[0]].better,
                "baseline": method in BASELINES,
            }
        )
    maps = [np.asarray(values) for name, values in measured.maps.items() if name not in BASELINES]
    if len(maps) > 1:
        agreement = kendall_w(np.stack(maps, axis=1).reshape(len(examples), len(maps), -1))
        row = {"method": "agreement", "metric": "kendall_w", **mean(agreement, group, seed=0).to_dict()}
        rows.append({**row, "better": None, "baseline": False})
    return rows


def against_baseline(measured: Measurements, examples: Examples, baseline: str = "centre_gaussian") -> list[dict]:
    """Paired comparison of each method with a baseline on the same examples, by metric (Holm over methods)."""
    group = np.array(examples.group)
    by_metric: dict[str, dict[str, np.ndarray]] = {}
    for name, values in measured.values.items():
        method, metric = name.split("/", 1)
        if METRICS[metric.partition("/")[0]].better is not None:
            by_metric.setdefault(metric, {})[method] = np.asarray(values)
    return [
        {"metric": metric, **comparison.to_dict()}
        for metric, values in by_metric.items()
        if baseline in values
        for comparison in compare(
            values, group, pairs=[(method, baseline) for method in values if method not in BASELINES]
        )
    ]


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
    _store_arrays(folder / "examples.npz", arrays)


def _store_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_atomic(path, content.getvalue())


def _store_table(folder: Path, examples: Examples, measured: Measurements) -> None:
    """One line per example: as CSV, where undefined is empty, and as JSON lines, where it is null."""
    text, lines = io.StringIO(), []
    names = list(measured.values)
    columns = [[None if value != value else value for value in np.asarray(measured.values[n]).tolist()] for n in names]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "group", *names])
    for i, (identity, group) in enumerate(zip(examples.id, examples.group, strict=True)):
        values = [column[i] for column in columns]
        writer.writerow([identity, group, *("" if value is None else f"{value:.6g}" for value in values)])
        lines.append(json.dumps({"id": identity, "group": group, **dict(zip(names, values, strict=True))}))
    write_atomic(folder / "table.csv", text.getvalue())
    write_atomic(folder / "table.jsonl", "\n".join(lines) + "\n")


def _store_overlays(folder: Path, examples: Examples, maps: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """One PNG per example: the image with part outlines, then each method's overlay."""
    from spermjax.report.figures import panel  # heavy: after training

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
