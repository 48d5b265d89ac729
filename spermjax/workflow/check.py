"""The leakage check of a data set."""

from pathlib import Path
from typing import Any

from spermjax.data.duplicates import find_duplicates
from spermjax.data.images import pixels
from spermjax.data.leakage import write_report
from spermjax.data.prepare import prepare


def check(name: str, manual_dir: Path | None, data_dir: Path | None, out: Path) -> dict[str, int]:
    """Looks for cells that a data set shows twice, at the images' original size.

    Args:
        name: data set, or set/configuration.
        manual_dir: folder of the unpacked archive.
        data_dir: where prepared sets live.
        out: folder for `pairs.csv`, `groups.csv` and `index.html`.

    Returns:
        How many of what was found.
    """
    builder = prepare(name, manual_dir, data_dir).builder
    features: Any = builder.info.features
    names = features["label"].names if "label" in features else None
    images, ids, labels, splits, groups = [], [], [], [], []
    for split in builder.info.splits:
        for record in builder.records(split):
            images.append(pixels(record["image"]))
            ids.append(record["id"].decode())
            groups.append(record["group"].decode())
            splits.append(split)
            labels.append(names[record["label"]] if names else " ".join(map(str, record["attributes"].values())))
    pairs = find_duplicates(images)
    given = splits if len(set(splits)) > 1 else None
    return write_report(out, pairs, images, ids, labels, splits=given, groups=groups, title=name)
