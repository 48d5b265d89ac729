"""What W&B shows of a finished run besides its curves, read from the run folder.

Predictions with overlays and masks, a histogram of each head's attention, the confusion
matrix, precision and recall, and the lineage data -> run -> best checkpoint -> report as
artifacts.
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from spermjax import parts as parts_lib
from spermjax.npz import read_npz
from spermjax.parts import PARTS

MOST_ROWS = 64


def publish(wandb_run: Any, folder: Path, step: int) -> None:
    """Sends a finished run's tables and artifacts.

    Args:
        wandb_run: open.
        folder: of the run.
        step: of the last values, which the tables join.
    """
    for path in sorted(folder.glob("evaluation/*.json")):
        split, scores = path.stem, json.loads(path.read_text())
        wandb_run.log(
            {f"{split}/confusion/{name}": _confusion(scores, name) for name in scores["confusion"]}, step=step
        )
        curves = precision_recall(scores["task"], _rows(path.with_suffix(".csv")))
        if curves:
            wandb_run.log(
                {f"{split}/precision_recall": _table(("name", "recall", "precision", "threshold"), curves)}, step=step
            )
    for path in sorted(folder.glob("explanations/*/examples.npz")):
        publish_explanations(wandb_run, path.parent, step)
    _lineage(wandb_run, folder)


def publish_explanations(wandb_run: Any, folder: Path, step: int) -> None:
    """Sends explained cells as a table, and the attention of each head as a histogram over log10 of its weights.

    Args:
        wandb_run: open.
        folder: of the explanations; its name starts the names of what is sent.
        step: that they join.
    """
    import wandb

    wandb_run.log({f"{folder.name}/predictions": _predictions(read_npz(folder / "examples.npz"))}, step=step)
    if not (folder / "attention.npz").exists():
        return
    stored = read_npz(folder / "attention.npz")
    histograms = {
        f"{folder.name}/attention/layer_{layer}/head_{head}": wandb.Histogram(
            np_histogram=(counts, stored["log10_weight"])
        )
        for layer, of_layer in enumerate(stored["count"])
        for head, counts in enumerate(of_layer)
    }
    wandb_run.log(histograms, step=step)


def _table(columns, rows):
    import wandb

    return wandb.Table(columns=list(columns), data=[list(row) for row in rows])


def _confusion(scores: dict[str, Any], name: str):
    sides = scores["task"]["names"] if scores["task"]["kind"] == "single_label" else ["normal", "abnormal"]
    counts = scores["confusion"][name]
    rows = [(true, said, counts[i][j]) for i, true in enumerate(sides) for j, said in enumerate(sides)]
    return _table(("true", "predicted", "cells"), rows)


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def precision_recall(task: dict[str, Any], rows: list[dict[str, str]]) -> list[tuple[str, float, float, float]]:
    """Points of the precision-recall curve of each class, one against the rest, or of each attribute's abnormal side.

    Args:
        task: as stored with the run.
        rows: of `evaluation/SPLIT.csv`.

    Returns:
        `(name, recall, precision, threshold)`.
    """
    from sklearn.metrics import precision_recall_curve

    points = []
    for name in task["names"]:
        single = task["kind"] == "single_label"
        true_column, positive = ("label", name) if single else (f"label_{name}", "abnormal")
        known = [row for row in rows if row[true_column]]
        true = [row[true_column] == positive for row in known]
        if any(true):
            probability = [float(row[f"probability_{name}"]) for row in known]
            precision, recall, threshold = precision_recall_curve(true, probability)
            points += list(zip([name] * len(threshold), recall, precision, threshold, strict=False))
    return [(name, float(r), float(p), float(t)) for name, r, p, t in points]


def _predictions(stored: dict[str, np.ndarray]):
    """A row for each explained cell: the image with its part masks as layers, and each method's overlay."""
    import wandb

    from spermjax.report.figures import overlay

    methods = [name.removeprefix("maps/") for name in stored if name.startswith("maps/")]
    rows = []
    for i in range(min(MOST_ROWS, len(stored["id"]))):
        image, layers = stored["image"][i], {}
        if stored["has_parts"][i]:
            masks = parts_lib.unpack(stored["parts"][i])
            # Parts overlap, so each is a layer of its own.
            layers = {
                part: {"mask_data": masks[..., place].astype(np.uint8), "class_labels": {0: "other", 1: part}}
                for place, part in enumerate(PARTS)
                if masks[..., place].any()
            }
        overlays = [wandb.Image(overlay(image, stored[f"maps/{name}"][i], 4 * image.shape[0])) for name in methods]
        cell = wandb.Image(image, masks=layers or None)
        facts = (str(stored["id"][i]), str(stored["label"][i]), str(stored["predicted"][i]))
        rows.append((facts[0], cell, *facts[1:], float(stored["probability"][i]), *overlays))
    return _table(("id", "cell", "label", "predicted", "probability", *methods), rows)


def _lineage(wandb_run: Any, folder: Path) -> None:
    """Data by fingerprint, the best checkpoint made from it, and the report made from that."""
    import wandb

    data = json.loads((folder / "data.json").read_text())
    facts = {key: data[key] for key in ("name", "fingerprint", "protocol")}
    source = wandb.Artifact(f"data-{data['name']}", "dataset", metadata=facts)
    source.add_file(str(folder / "data.json"))
    if wandb_run.offline:
        wandb_run.log_artifact(source)  # Offline runs can't say that they use an artifact.
    else:
        wandb_run.use_artifact(source)
    # Scores, explanations and report are of the best checkpoint, which need not be the last.
    step = json.loads((folder / "evaluation" / "validation.json").read_text())["checkpoint_step"]
    name = f"checkpoint-{wandb_run.id}"
    checkpoint = wandb.Artifact(name, "model", metadata=facts | {"step": step})
    checkpoint.add_dir(str(folder / "checkpoints" / str(step)))
    wandb_run.log_artifact(checkpoint, aliases=["latest", "best"])
    report = wandb.Artifact(f"report-{wandb_run.id}", "report", metadata=facts | {"checkpoint": name, "step": step})
    report.add_file(str(folder / "report" / "index.html"))
    wandb_run.log_artifact(report)
