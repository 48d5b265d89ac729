"""A data set and an experiment small enough to train in a second."""

import dataclasses
from pathlib import Path

import numpy as np

from spermjax.config import Augment, Data, Experiment, Interpret, Model, Schedule, Tracking
from spermjax.data.examples import Dataset, Examples
from spermjax.data.task import Kind, Task
from spermjax.parts import PARTS


def examples(n: int, kind: Kind, seed: int) -> Examples:
    """Noise with a bright square in one of four corners; the corner is the label, and the masked part."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 4, n)
    image = rng.integers(0, 100, (n, 16, 16, 3), np.uint8)
    parts = np.zeros((n, 16, 16), np.uint8)
    for i, place in enumerate(corner):
        rows, columns = slice(8 * (place // 2), 8 * (place // 2) + 6), slice(8 * (place % 2), 8 * (place % 2) + 6)
        image[i, rows, columns] = 230
        parts[i, rows, columns] = 1 << PARTS.index("nucleus")
    attributes = np.stack([corner // 2, corner % 2], axis=1).astype(np.int32)
    attributes[0, 0] = -1
    return Examples(
        image=image,
        parts=parts,
        has_parts=np.arange(n) % 5 > 0,
        label=corner.astype(np.int32) if kind == "single_label" else attributes,
        id=tuple(f"{seed}-{i}" for i in range(n)),
        group=tuple(f"{seed}-{i // 2}" for i in range(n)),
    )


def dataset(kind: Kind = "single_label") -> Dataset:
    """Forty-five training and eleven validation examples."""
    names = ("a", "b", "c", "d") if kind == "single_label" else ("row", "column")
    return Dataset(
        name="tiny",
        task=Task(kind, names, dict.fromkeys(names, ("nucleus",))),
        splits={"train": examples(45, kind, 0), "validation": examples(11, kind, 1)},
        fingerprint="0" * 64,
        protocol="synthetic",
        licence="none",
        citation="none",
    )


def experiment(runs: Path | None = None, **changes) -> Experiment:
    """A small transformer, with dropout and augmentation so that randomness is exercised."""
    base = Experiment(
        name="tiny",
        data=Data(image_size=16),
        model=Model(patch_size=4, width=16, depth=2, heads=2, dropout=0.1, stochastic_depth=0.1),
        augment=Augment(rotate=10.0, scale=0.05),
        schedule=Schedule(batch_size=16, epochs=3, eval_every=1),
        interpret=Interpret(
            examples=8, chunk=4, during_training=("raw_attention",), methods=("raw_attention", "rollout")
        ),
        tracking=Tracking(runs=runs or Path("runs"), wandb="disabled", log_every=1),
    )
    return dataclasses.replace(base, **changes)
