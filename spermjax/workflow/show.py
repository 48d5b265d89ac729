"""Contact sheets of a data set."""

from pathlib import Path

import numpy as np

from spermjax.config import Data
from spermjax.data.examples import concatenate, load_undivided
from spermjax.data.show import contact_sheet
from spermjax.errors import ConfigError, nearest

COLUMNS = 8


def show(
    name: str,
    manual_dir: Path | None,
    data_dir: Path | None,
    out: Path,
    *,
    split: str | None,
    image_size: int,
    examples: int,
) -> None:
    """Writes a PNG of cells taken evenly from a data set, with outlines of their parts.

    Args:
        name: data set, or set/configuration.
        manual_dir: folder of the unpacked archive, or the archive.
        data_dir: where prepared sets live.
        out: the file to write.
        split: whose cells to show; of all splits when not given.
        image_size: side of an image, in pixels.
        examples: how many images, at most.

    Raises:
        ConfigError: the data set has no such split.
    """
    dataset = load_undivided(Data(name=name, manual_dir=manual_dir, data_dir=data_dir, image_size=image_size))
    if split is not None and split not in dataset.splits:
        raise ConfigError(f"{name} has no split {split!r}. {nearest(split, dataset.splits)}")
    cells = dataset.splits[split] if split else concatenate(list(dataset.splits.values()))
    chosen = cells.take(np.unique(np.linspace(0, len(cells) - 1, min(examples, len(cells))).round().astype(int)))
    out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(chosen, dataset.task, out, rows=-(-len(chosen) // COLUMNS), columns=COLUMNS)
