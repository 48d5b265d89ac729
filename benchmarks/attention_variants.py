"""Every attention variant, trained alike on small phantom cells: accuracy, where it looks, what it costs.

    python benchmarks/attention_variants.py --out DIR [--variants softmax linear] [--steps 200] [--seeds 3]

Writes `table.md`, `results.json` and `maps.png` (the same three cells under each variant),
and goes on after a kill with the variants that `results.json` lacks. A variant differs from
the next in nothing but its name: data, budget, schedule and the order of examples are those
of the seed. Nothing is tuned, no attention is guided. About ten minutes on two quiet cores.
"""

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from spermjax.config import Augment, Data, Experiment, Model, Optim, Schedule
from spermjax.data.batch import unpack
from spermjax.data.examples import Dataset, load
from spermjax.data.pipeline import gather, whole
from spermjax.interpret.suite import deciding_regions, measure
from spermjax.models.attention import VARIANTS
from spermjax.models.build import build_model
from spermjax.models.describe import describe
from spermjax.sweep.compare.statistics import over_runs
from spermjax.train.losses import class_weights
from spermjax.train.optim import optimizer
from spermjax.train.session import initial_variables
from spermjax.train.state import create_state
from spermjax.train.step import make_train_step

SIZE, BATCH, CELLS, COLUMNS = 32, 32, 3, 6
METRICS = ("accuracy", "attention_mass", "rollout_mass")
MAPS = {"attention_mass": "raw_attention", "rollout_mass": "rollout"}


def experiment(variant: str, steps: int) -> Experiment:
    """Two narrow blocks behind a convolutional stem."""
    return Experiment(
        data=Data(name="sperm_phantom", image_size=SIZE),
        model=Model(
            stem="conv",
            patch_size=4,
            width=32,
            depth=2,
            heads=4,
            positions="sincos",
            attention=variant,
            mean=(0.85, 0.75, 0.83),
            std=(0.11, 0.13, 0.08),
        ),
        optim=Optim(learning_rate=3e-3),
        schedule=Schedule(steps=steps, batch_size=BATCH),
        augment=Augment(flip=True, rotate=0.0, scale=0.0, shift=0.0, brightness=0.0, contrast=0.0),
    )


class Bench:
    """One variant's compiled programmes."""

    def __init__(self, variant: str, dataset: Dataset, steps: int):
        self.experiment, self.dataset = experiment(variant, steps), dataset
        self.model = build_model(self.experiment.model, dataset.task.num_outputs)
        self.optimizer = optimizer(self.experiment.optim, self.experiment.schedule, steps)
        train = dataset.splits["train"]
        weights = class_weights(dataset.task, train.label, self.experiment.loss)
        step = make_train_step(self.experiment, self.model, dataset.task, self.optimizer, weights, steps, None)
        self.stored = jax.device_put(whole(train))
        self.step = jax.jit(lambda state, index, stored: step(state, gather(stored, index)), donate_argnums=0)
        self.apply = jax.jit(self.model.apply)
        deciding = deciding_regions(dataset.task)

        def look(variables: Any, packed: Any, targets: jax.Array):
            wanted = {"methods": list(MAPS.values()), "metrics": ["energy_pointing_game"], "deciding": deciding}
            return measure(self.model, variables, unpack(packed), targets, **wanted)

        self.look = jax.jit(look)

    def batches(self, seed: int, steps: int) -> np.ndarray:
        """Places of the examples of each step: epochs without a gap."""
        n = len(self.dataset.splits["train"])
        rng = np.random.default_rng(seed)
        order = np.concatenate([rng.permutation(n) for _ in range(-(-steps * BATCH // n))])
        return order[: steps * BATCH].astype(np.int32).reshape(steps, BATCH)

    def state(self, seed: int) -> Any:
        """The state before the first step."""
        variables = initial_variables(dataclasses.replace(self.experiment, seed=seed), self.model)
        return create_state(variables, self.optimizer, averaged=False)

    def run(self, seed: int, steps: int) -> tuple[dict[str, float], Any]:
        """Trains with one seed and scores the validation split."""
        state = self.state(seed)
        for index in self.batches(seed, steps):
            state, _ = self.step(state, index, self.stored)
        validation = self.dataset.splits["validation"]
        packed = gather(validation, np.arange(len(validation)))
        logits = np.asarray(self.apply(state.variables, unpack(packed).image))
        predicted = logits.argmax(1).astype(np.int32)
        seen = jax.device_get(self.look(state.variables, packed, predicted))
        scores = {"accuracy": float((predicted == validation.label).mean())}
        for name, method in MAPS.items():
            scores[name] = float(np.nanmean(seen.values[f"{method}/energy_pointing_game"]))
        return scores, seen.maps["raw_attention"]

    def timer(self) -> Callable[[], float]:
        """Seconds that one more step takes."""
        state, index = self.state(0), self.batches(0, 1)[0]
        state, _ = self.step(state, index, self.stored)

        def seconds() -> float:
            nonlocal state
            start = time.perf_counter()
            state, metrics = self.step(state, index, self.stored)
            jax.block_until_ready(metrics)
            return time.perf_counter() - start

        return seconds


def ratio(of: Bench, to: Bench, rounds: int = 25) -> float:
    """Median of paired ratios of step times, the two interleaved."""
    numerator, denominator = of.timer(), to.timer()
    return statistics.median(numerator() / denominator() for _ in range(rounds))


def main() -> None:
    """Trains what is missing, then writes table and picture."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    stored = options.out / "results.json"
    results = json.loads(stored.read_text()) if stored.exists() else {}
    dataset = load(experiment("softmax", 1).data)
    softmax = Bench("softmax", dataset, options.steps)
    shown = np.flatnonzero(np.diff(dataset.splits["validation"].label, prepend=-1))[1 : CELLS + 1]
    for variant in options.variants:
        if variant in results:
            continue
        bench = Bench(variant, dataset, options.steps)
        runs = []
        for seed in range(options.seeds):
            scores, maps = bench.run(seed, options.steps)
            runs.append(scores)
            if seed == 0:
                np.save(options.out / f"{variant}.npy", maps[shown])
        size = describe(bench.experiment.model, SIZE, dataset.task.num_outputs)
        results[variant] = {
            "runs": runs,
            "parameters": size.parameters,
            "flops": size.flops,
            "step_ratio": ratio(bench, softmax),
        }
        stored.write_text(json.dumps(results, indent=2))
        print(row(variant, results[variant]), flush=True)
    head = f"| variant | {' | '.join(METRICS)} | parameters | MFLOPs | step time |\n|{'---|' * (len(METRICS) + 4)}\n"
    (options.out / "table.md").write_text(head + "\n".join(row(*item) for item in results.items()) + "\n")
    cells = dataset.splits["validation"].image[shown]
    draw({name: np.load(options.out / f"{name}.npy") for name in results}, cells, options.out / "maps.png")


def row(variant: str, result: dict[str, Any]) -> str:
    """A line of the table: means over seeds with Student's intervals."""
    found = [over_runs(np.array([run[name] for run in result["runs"]])) for name in METRICS]
    cells = [f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]" for interval in found]
    cost = f"{result['parameters']:,} | {result['flops'] / 1e6:.2f} | {result['step_ratio']:.2f}"
    return f"| `{variant}` | {' | '.join(cells)} | {cost} |"


def draw(maps: dict[str, np.ndarray], cells: np.ndarray, path: Path) -> None:
    """The cells, then the same under each variant, three rows a band."""
    columns = {"cells": cells, **maps}
    bands = -(-len(columns) // COLUMNS)
    figure, axes = plt.subplots(bands * CELLS, COLUMNS, figsize=(COLUMNS, bands * (CELLS + 0.3)), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for place, (name, images) in enumerate(columns.items()):
        for cell, image in enumerate(images):
            axis = axes[place // COLUMNS * CELLS + cell, place % COLUMNS]
            axis.imshow(image, cmap="magma")
            if cell == 0:
                axis.set_title(name, fontsize=7, pad=2)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.97, wspace=0.05, hspace=0.1)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
