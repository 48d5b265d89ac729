"""A data set of noise and an experiment on it that takes no time: for benchmarks of what surrounds the mathematics."""

from pathlib import Path

import numpy as np

from spermjax.config import Augment, Data, Experiment, Interpret, Model, Optim, Schedule, Tracking
from spermjax.data.examples import Dataset, Examples
from spermjax.data.task import Task
from spermjax.parts import PARTS

CLASSES = ("a", "b", "c", "d")


def examples(count: int, seed: int, side: int = 16) -> Examples:
    """Noise without meaning."""
    rng = np.random.default_rng(seed)
    return Examples(
        image=rng.integers(0, 255, (count, side, side, 3), np.uint8),
        parts=rng.integers(0, 1 << len(PARTS), (count, side, side)).astype(np.uint8),
        has_parts=np.ones(count, bool),
        label=rng.integers(0, len(CLASSES), count).astype(np.int32),
        id=tuple(f"{seed}-{i}" for i in range(count)),
        group=tuple(f"{seed}-{i}" for i in range(count)),
    )


def dataset(count: int) -> Dataset:
    """`count` training examples, and 16 of validation."""
    return Dataset(
        name="noise",
        task=Task("single_label", CLASSES, {}),
        splits={"train": examples(count, 0), "validation": examples(16, 1)},
        fingerprint="0" * 64,
        protocol="noise",
        licence="none",
        citation="none",
    )


def experiment(runs: Path, run_id: str, steps: int, eval_every: float) -> Experiment:
    """A transformer of two narrow blocks, with an average and dropout, so that all of the state is in use."""
    return Experiment(
        name="noise",
        data=Data(image_size=16),
        model=Model(patch_size=8, width=16, depth=2, heads=2, dropout=0.1),
        optim=Optim(ema=0.9),
        augment=Augment(rotate=0.0, scale=0.0, shift=0.0),
        schedule=Schedule(batch_size=16, steps=steps, eval_every=eval_every),
        interpret=Interpret(examples=4, chunk=4, during_training=(), methods=("raw_attention",)),
        tracking=Tracking(runs=runs, run_id=run_id, wandb="disabled", log_every=1),
    )
