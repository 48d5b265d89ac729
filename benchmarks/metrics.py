"""Metrics of explanations beside Quantus, on the same maps and masks, interleaved in one process.

    python benchmarks/metrics.py [--json] [--batch 64] [--sizes 64 224] [--repeats 5]

Needs `quantus` and `torch` beside spermjax. One jitted call measures the whole batch;
Quantus is called on the whole batch too, and loops inside. Times are medians over the
repeats, compilation left out (it is reported apart). Takes about two minutes on two cores.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import quantus
import torch

from spermjax.interpret.metrics import METRICS

PAIRS = {
    "pointing_game": quantus.PointingGame,
    "attribution_localisation": quantus.AttributionLocalisation,
    "relevance_mass_accuracy": quantus.RelevanceMassAccuracy,
    "relevance_rank_accuracy": quantus.RelevanceRankAccuracy,
    "top_k_intersection": quantus.TopKIntersection,
    "auroc": quantus.AUC,
    "gini": quantus.Sparseness,
    "map_entropy": quantus.Complexity,
    "effective_complexity": quantus.EffectiveComplexity,
}
LOCALISATION = tuple(name for name in PAIRS if METRICS[name].needs == {"map", "mask"})


def example(batch: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Positive maps without ties, and a disc as mask."""
    rng = np.random.default_rng(0)
    maps = rng.uniform(0.01, 1.0, (batch, size, size)).astype(np.float32)
    distance = np.hypot(*np.meshgrid(np.arange(size) - size / 2, np.arange(size) - size / 2))
    return maps, np.broadcast_to(distance < size / 4, maps.shape).copy()


def ours(names: tuple[str, ...], maps: np.ndarray, masks: np.ndarray) -> tuple[Callable[[], None], float]:
    """One jitted call for all named metrics, and the seconds that its compilation took."""

    def measure(map: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
        given = {"map": map, "mask": mask}
        return {name: METRICS[name].function(**{key: given[key] for key in METRICS[name].needs}) for name in names}

    start = time.perf_counter()
    run = jax.jit(measure).lower(maps, masks).compile()
    compiled = time.perf_counter() - start
    placed = jnp.asarray(maps), jnp.asarray(masks)
    return lambda: jax.block_until_ready(run(*placed)), compiled


def reference(name: str, maps: np.ndarray, masks: np.ndarray) -> Callable[[], None]:
    """Quantus's metric on the same batch."""
    metric = PAIRS[name](disable_warnings=True, display_progressbar=False)
    images = np.zeros((len(maps), 3, *maps.shape[1:]), np.float32)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(2))
    model(torch.zeros(images[:1].shape))
    arguments = {
        "model": model.eval(),
        "x_batch": images,
        "y_batch": np.zeros(len(maps), int),
        "a_batch": maps[:, None],
        "s_batch": masks[:, None],
        "device": "cpu",
    }
    return lambda: metric(**arguments)


def interleaved(functions: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Median seconds of each, all called in turn in every repeat."""
    seconds = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def compare(batch: int, size: int, repeats: int) -> list[dict]:
    """One row per metric, and one for all localisation metrics in a single call."""
    maps, masks = example(batch, size)
    functions, compiled = {}, {}
    for name in PAIRS:
        functions[f"ours {name}"], compiled[name] = ours((name,), maps, masks)
        functions[f"reference {name}"] = reference(name, maps, masks)
    functions["ours together"], compiled["all localisation, one call"] = ours(LOCALISATION, maps, masks)
    seconds = interleaved(functions, repeats)
    pairs = {name: (seconds[f"ours {name}"], seconds[f"reference {name}"]) for name in PAIRS}
    together = sum(seconds[f"reference {name}"] for name in LOCALISATION)
    pairs["all localisation, one call"] = (seconds["ours together"], together)
    return [
        {
            "metric": name,
            "size_px": size,
            "batch": batch,
            "ours_ms_per_image": 1e3 * own / batch,
            "reference_ms_per_image": 1e3 * other / batch,
            "ratio": other / own,
            "compile_s": compiled[name],
        }
        for name, (own, other) in pairs.items()
    ]


def main() -> None:
    """Prints the table, or JSON."""
    parser = argparse.ArgumentParser(description="Metrics of explanations beside Quantus.")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--sizes", type=int, nargs="+", default=(64, 224))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [row for size in options.sizes for row in compare(options.batch, size, options.repeats)]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print("| metric | px | ours, ms per image | Quantus, ms per image | ratio |\n|---|---|---|---|---|")
    for row in rows:
        times = f"{row['ours_ms_per_image']:.4f} | {row['reference_ms_per_image']:.3f} | {row['ratio']:.0f}"
        print(f"| {row['metric']} | {row['size_px']} | {times} |")


if __name__ == "__main__":
    main()
