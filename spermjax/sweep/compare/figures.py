"""Pictures of a comparison: curves, parallel coordinates, ranks, and one cell explained by each variant."""

import base64
import io
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from spermjax import parts as parts_lib
from spermjax.report import words
from spermjax.report.curves import INK, MUTED, SERIES, STYLE, inline
from spermjax.report.figures import panel
from spermjax.sweep.compare.load import SPLIT, Record
from spermjax.sweep.compare.result import Comparison

CELLS = 6


def colour(place: int) -> str:
    """The page's colour of a variant."""
    return f"#0a0b1{place % SERIES}"


def learning_curves(comparison: Comparison) -> Markup | None:
    """The main metric against the epoch: the mean over a variant's runs, and their range."""
    name = f"{SPLIT}/{comparison.metrics[0]}"
    with rc_context(STYLE):
        figure = Figure(figsize=(7.6, 3.6), layout="constrained")
        axes = figure.add_subplot()
        drawn = False
        for place, (variant, runs) in enumerate(comparison.variants.items()):
            points: dict[float, list[float]] = defaultdict(list)
            for run in runs:
                for line in run.run.metrics:
                    if line.get(name) is not None:
                        points[round(line.get("epoch") or line["step"] or 0.0, 6)].append(float(line[name] or 0.0))
            epochs = sorted(epoch for epoch, values in points.items() if len(values) == len(runs))
            if not epochs:
                continue
            drawn = True
            mean = [np.mean(points[epoch]) for epoch in epochs]
            axes.plot(epochs, mean, color=colour(place), marker="o", markersize=3, label=variant)
            low, high = ([bound(points[epoch]) for epoch in epochs] for bound in (min, max))
            axes.fill_between(epochs, low, high, color=colour(place), alpha=0.12, linewidth=0)
        if not drawn:
            return None
        axes.set_xlabel("epoch")
        axes.set_title(words.title(comparison.metrics[0]))
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        return inline(figure, "learning curves")


def parallel_coordinates(comparison: Comparison) -> Markup | None:
    """One line a run through the factors that differ, ending at the main metric."""
    paths = list(comparison.factors)
    metric = comparison.metrics[0]
    runs = [record for record in comparison.records if metric in record.values]
    if not paths or len(runs) < 2:
        return None
    with rc_context(STYLE):
        figure = Figure(figsize=(max(5.0, 1.9 * (len(paths) + 1)), 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(False)
        scores = np.array([run.values[metric] for run in runs])
        low, high = scores.min(), scores.max()
        spread = (high - low) or 1.0
        positions = {variant: place for place, variant in enumerate(comparison.variants)}
        of_run = {id(run): positions[v] for v, members in comparison.variants.items() for run in members}
        scales = [_scale(comparison.factors[path]) for path in paths]
        for run, score in zip(runs, scores, strict=True):
            heights = [scale[_plain(run.settings.get(path))] for path, scale in zip(paths, scales, strict=True)]
            heights.append(float((score - low) / spread))
            axes.plot(range(len(heights)), heights, color=colour(of_run[id(run)]), alpha=0.75, linewidth=1.2)
        for place, scale in enumerate([*scales, {f"{low:.3f}": 0.0, f"{high:.3f}": 1.0}]):
            axes.axvline(place, color=MUTED, linewidth=0.8)
            for text, height in scale.items():
                # Above its place: lines run level as well as up and down.
                axes.annotate(
                    str(text), (place, height), (3, 3), textcoords="offset points", fontsize=8, color=INK, va="bottom"
                )
        axes.set_xticks(
            range(len(paths) + 1), [*(p.rpartition(".")[2].replace("_", " ") for p in paths), words.title(metric)]
        )
        axes.set_yticks([])
        axes.set_xlim(-0.1, len(paths) + 0.5)
        for side in axes.spines.values():
            side.set_visible(False)
        return inline(figure, "parallel coordinates")


def _plain(value: Any) -> str:
    return str(tuple(value) if isinstance(value, list) else value)


def _scale(values: Sequence[Any]) -> dict[str, float]:
    """Height of each value of a factor: in order for numbers, as they came for words."""
    numeric = all(isinstance(value, int | float) for value in values)
    ordered = sorted(values) if numeric else list(values)
    return {_plain(value): place / max(1, len(ordered) - 1) for place, value in enumerate(ordered)}


def pareto_front(comparison: Comparison) -> Markup | None:
    """Each variant by the first two objectives of the sweep; the front is ringed and joined."""
    found = comparison.front
    if found is None:
        return None
    with rc_context(STYLE):
        figure = Figure(figsize=(7.6, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for place, variant in enumerate(comparison.variants):
            if variant in found.values:
                x, y = (interval.value for interval in found.values[variant][:2])
                axes.plot(x, y, "o", color=colour(place), markersize=6)
        first, second = ([found.values[variant][i].value for variant in found.best] for i in (0, 1))
        axes.plot(first, second, color=INK, linewidth=0.8, marker="o", markersize=11, markerfacecolor="none", zorder=1)
        for variant, x, y in zip(found.best, first, second, strict=True):
            axes.annotate(variant, (x, y), (0, 9), textcoords="offset points", ha="center", fontsize=8)
        axes.margins(0.15)
        for axis, objective in zip((axes.xaxis, axes.yaxis), found.objectives, strict=False):
            better = "higher" if objective.goal == "maximize" else "lower"
            axis.set_label_text(f"{words.title(objective.name)} ({better} is better)")
        return inline(figure, "Pareto front")


def rank_diagram(comparison: Comparison) -> Markup | None:
    """Mean ranks of the main metric; variants joined by a bar do not differ (Demsar 2006)."""
    found = comparison.ranks.get(comparison.metrics[0])
    if found is None or found.blocks < 2 or comparison.better[comparison.metrics[0]] is None:
        return None
    names = list(comparison.variants)
    order = np.argsort(found.mean)
    with rc_context(STYLE):
        figure = Figure(figsize=(7.6, 0.9 + 0.3 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        for row, place in enumerate(order):
            axes.plot(found.mean[place], -row, "o", color=colour(int(place)), markersize=6)
            axes.annotate(
                names[place], (found.mean[place], -row), (8, 0), textcoords="offset points", va="center", fontsize=8
            )
            axes.plot(
                [found.mean[place], found.mean[place] + found.critical_difference], [-row - 0.28] * 2, color=MUTED
            )
        axes.set_xlabel(f"mean rank over {found.blocks} matched sets, 1 is best; lines are the critical difference")
        axes.set_yticks([])
        axes.set_xlim(0.9, max(len(names), float(found.mean.max() + found.critical_difference)) + 0.6)
        return inline(figure, "ranks")


def cells(comparison: Comparison) -> tuple[str, list[tuple[str, str]]]:
    """The same cells explained by one run of each variant.

    Returns:
        Name of the explanation method, and for each cell its caption and a PNG as a data
        address; those cells first on which the variants' maps differ most.
    """
    firsts = _one_run_each(comparison)
    stored = {variant: run.run.explanations.get(SPLIT) for variant, run in firsts.items()}
    if any(explained is None or not explained.examples for explained in stored.values()):
        return "", []
    explained = {variant: value for variant, value in stored.items() if value is not None}
    shared = set.intersection(*(set(value.methods) for value in explained.values()))
    ids = [tuple(value.examples["id"]) for value in explained.values()]
    if not shared or len(set(ids)) > 1:
        return "", []
    method = next((name for name in ("rollout", "raw_attention", "grad_cam") if name in shared), min(shared))
    one = next(iter(explained.values())).examples
    maps = np.stack([value.examples[f"maps/{method}"] for value in explained.values()])
    spread = _normalised(maps).std(0).mean((1, 2))
    pictures = []
    for i in np.argsort(-spread)[:CELLS]:
        masks = parts_lib.unpack(one["parts"][i]) if one["has_parts"][i] else None
        picture = panel(one["image"][i], masks, maps[:, i], list(explained))
        pictures.append((str(one["id"][i]), _png(picture)))
    return method, pictures


def _one_run_each(comparison: Comparison) -> dict[str, Record]:
    """A run of each variant, of the same seed and fold where there is one."""
    wanted = next(iter(comparison.variants.values()))[0].settings
    key = [(path, wanted.get(path)) for path in ("seed", "data.fold")]
    return {
        variant: next((run for run in runs if all(run.settings.get(p) == v for p, v in key)), runs[0])
        for variant, runs in comparison.variants.items()
    }


def _normalised(maps: np.ndarray) -> np.ndarray:
    shifted = np.nan_to_num(maps - np.nanmin(maps, axis=(2, 3), keepdims=True))
    return shifted / np.maximum(shifted.sum((2, 3), keepdims=True), 1e-12)


def _png(image: np.ndarray) -> str:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
