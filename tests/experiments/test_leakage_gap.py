"""The gap between protocols, on cells whose labels can only be remembered.

Every cell is photographed twice and its label is a coin toss, so the nearest training
image knows the label where the other photograph is in training, and nothing otherwise.
"""

import numpy as np
import pytest

from experiments.leakage_gap import experiment, repeat, summarise
from spermjax.config import Data
from spermjax.data.examples import Dataset, Examples
from spermjax.data.task import Task
from spermjax.validation import validate

CELLS = 150


def photographs(twins: bool) -> Dataset:
    rng = np.random.default_rng(0)
    cell = np.arange(2 * CELLS) // 2 if twins else np.arange(2 * CELLS)
    image = rng.integers(0, 256, (2 * CELLS, 4, 4, 3), np.uint8)[cell]
    examples = Examples(
        image=image,
        parts=np.zeros(image.shape[:3], np.uint8),
        has_parts=np.zeros(2 * CELLS, bool),
        label=rng.integers(0, 2, 2 * CELLS).astype(np.int32)[cell],
        id=tuple(f"photograph {i}" for i in range(2 * CELLS)),
        group=tuple(f"cell {i}" for i in cell),
    )
    task = Task("single_label", ("heads", "tails"), {})
    return Dataset("coins", task, {"full": examples}, "", "not divided", "", "")


def nearest_photograph(divided: Dataset, seed: int) -> np.ndarray:
    """Logits of one nearest neighbour by pixels."""
    train, validation = divided.splits["train"], divided.splits["validation"]
    distance = np.abs(train.image[None].astype(int) - validation.image[:, None].astype(int)).sum((2, 3, 4))
    return np.eye(2)[train.label[distance.argmin(1)]]


def gap(twins: bool) -> dict:
    return summarise(repeat(photographs(twins), Data(name="coins"), 6, nearest_photograph))


def test_remembering_pays_under_the_leaking_split_alone():
    """70 % of the other photographs are in training: the leaking split should give .7 + .3 / 2, the clean one .5."""
    found = gap(twins=True)
    leak, clean = found["share of validation with a relative in training"]
    assert 0.6 < leak < 0.8 and clean == 0
    cells = found["cells"]
    assert cells["all: literature"]["value"] == pytest.approx(0.85, abs=0.05)
    assert cells["all: clean"]["low"] < 0.5 < cells["all: clean"]["high"]
    assert cells["all: gap"]["low"] > 0.2 and found["splits"]["gap"]["low"] > 0.2
    assert cells["with a relative: gap"] == cells["all: gap"]


def test_without_relatives_there_is_no_gap():
    found = gap(twins=False)
    assert found["cells"]["with a relative: gap"]["n"] == 0
    assert found["images with a relative"] == 0
    assert found["cells"]["all: gap"]["low"] <= 0 <= found["cells"]["all: gap"]["high"]
    assert found["cells"]["with a relative: gap"]["value"] is None


def test_the_experiment_is_one():
    validate(experiment())
