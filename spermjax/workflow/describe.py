"""Facts about a data set."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spermjax.config import Data
from spermjax.data.builder import SpermBuilder
from spermjax.data.examples import Examples, load_undivided
from spermjax.data.prepare import prepare
from spermjax.data.task import Task
from spermjax.workflow.train import describe as of_dataset


def describe(name: str, manual_dir: Path | None, data_dir: Path | None) -> dict[str, Any]:
    """What is known of a data set, JSON-able.

    Returns:
        What a run keeps of its data (counts, licence, citation, fingerprint), and for
        each split `group_counts`, the number of groups with each class or side of an
        attribute, `largest_group`, and `sizes`: least, median and greatest `width` and
        `height` in pixels, as stored. `skipped` is the list of what was left out, or None.
    """
    prepared = prepare(name, manual_dir, data_dir)
    dataset = load_undivided(Data(name=name, data_dir=data_dir))
    facts = of_dataset(dataset)
    for split, examples in dataset.splits.items():
        facts["splits"][split] |= {
            "group_counts": _group_counts(dataset.task, examples),
            "largest_group": max(Counter(examples.group).values()),
            "sizes": _sizes(prepared.builder, split),
        }
    return facts | {"skipped": str(prepared.skipped) if prepared.skipped else None}


def _group_counts(task: Task, examples: Examples) -> dict[str, int]:
    """The number of groups in which each class, or each side of each attribute, occurs."""
    groups = np.array(examples.group)
    if task.kind == "single_label":
        return {name: len(set(groups[examples.label == i])) for i, name in enumerate(task.names)}
    return {
        f"{name}/{side}": len(set(groups[examples.label[:, i] == value]))
        for i, name in enumerate(task.names)
        for value, side in ((0, "normal"), (1, "abnormal"), (-1, "missing"))
    }


def _sizes(builder: SpermBuilder, split: str) -> dict[str, list[int]]:
    """Least, median and greatest width and height, from the stored images' headers."""
    sizes = []
    for record in builder.records(split):
        with Image.open(io.BytesIO(record["image"])) as image:
            sizes.append(image.size)
    found = np.percentile(sizes, [0, 50, 100], axis=0).round().astype(int).T.tolist()
    return dict(zip(("width", "height"), found, strict=True))
