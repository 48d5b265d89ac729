"""From run folders to the numbers of a comparison."""

import dataclasses
import fnmatch
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from spermjax.config import Experiment
from spermjax.data.task import Task
from spermjax.errors import ConfigError, nearest
from spermjax.evaluate.comparison import holm, paired_permutation
from spermjax.evaluate.intervals import Interval
from spermjax.sweep.compare import load
from spermjax.sweep.compare.factors import importances
from spermjax.sweep.compare.load import SPLIT, Failed, Record
from spermjax.sweep.compare.pareto import Front, front, objectives_of
from spermjax.sweep.compare.statistics import Paired, Ranks, over_runs, paired, ranks

REPEATS = ("seed", "data.fold")
"""Fields that repeat a variant rather than make another."""
SHOWN = ("pointing_game", "relevance_mass", "relevance_rank", "insertion", "deletion", "entropy")


@dataclasses.dataclass(frozen=True)
class Test:
    """Two variants on one metric.

    Attributes:
        metric, first, second: what was compared.
        paired: over runs that match in seed, fold and all other factors.
        p_adjusted: `paired.p` after Holm's correction over the pairs of this metric.
        p_cells: of a permutation test over the same cells, their values averaged over the
            runs of a variant and signs flipped by group; NaN where a metric has no value
            for each cell.
        p_cells_adjusted: the same after Holm's correction.
    """

    metric: str
    first: str
    second: str
    paired: Paired
    p_adjusted: float
    p_cells: float
    p_cells_adjusted: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All that a comparison writes.

    Attributes:
        records: runs with scores.
        failed: runs without.
        by: the fields that make the variants.
        factors: all fields that differ between runs, with their values.
        variants: their names, to the runs of each.
        metrics: that are shown, the first is the main one.
        better: `higher`, `lower` or None by metric.
        means: by variant and metric, over its runs.
        tests: every pair of variants on every shown metric.
        ranks: by metric.
        parameters: by variant.
        seconds: mean time in training steps by variant.
        importance: share of the variance of the main metric by factor (fANOVA); empty where
            it can't be told.
        front: variants by the objectives of the sweep, where it has several.
        protocol: of the split.
    """

    records: list[Record]
    failed: list[Failed]
    by: tuple[str, ...]
    factors: dict[str, list[Any]]
    variants: dict[str, list[Record]]
    metrics: list[str]
    better: dict[str, str | None]
    means: dict[tuple[str, str], Interval]
    tests: list[Test]
    ranks: dict[str, Ranks]
    parameters: dict[str, int]
    seconds: dict[str, float | None]
    importance: dict[str, float]
    front: Front | None
    protocol: str


def compare(words: Sequence[str], *, by: Sequence[str] = (), metrics: Sequence[str] = ()) -> Comparison:
    """Compares runs on the validation split.

    Args:
        words: run folders, sweep folders or patterns.
        by: fields that make the variants (default: all that differ but seed and fold); what
            else differs matches the runs of two variants into pairs.
        metrics: names or patterns (`rollout/*`); the first is the main one. Default: the
            overall scores and the main explanation metrics.

    Raises:
        ConfigError: no runs, runs on different splits, or an unknown field or metric.
    """
    paths, failed = load.find(words)
    records, unfinished = load.read(paths)
    if not records:
        raise ConfigError(f"None of the {len(paths)} runs has scores yet; train or evaluate them first.")
    load.refuse_other_splits(records)
    factors = _factors(records)
    by = tuple(by) or tuple(path for path in factors if path not in REPEATS)
    for path in by:
        if path not in factors:
            raise ConfigError(f"--by {path}: the runs don't differ in it. {nearest(path, factors)}")
    variants: dict[str, list[Record]] = {}
    for record in records:
        variants.setdefault(_name(record, by), []).append(record)
    chosen = _metrics(records, metrics)
    better = {name: next(r.better[name] for r in records if name in r.better) for name in chosen}
    blocks = _blocks(variants, by, factors)
    tests = [test for name in chosen for test in _tests(name, variants, blocks)]
    ranked = {name: ranks(_matrix(name, blocks, variants), higher_is_better=better[name] != "lower") for name in chosen}
    means = {(v, m): _mean(runs, m) for v, runs in variants.items() for m in chosen}
    return Comparison(
        records=records,
        failed=failed + [f for f in unfinished if not failed],
        by=by,
        factors=factors,
        variants=variants,
        metrics=chosen,
        better=better,
        means=means,
        tests=tests,
        ranks={name: r for name, r in ranked.items() if r is not None},
        parameters={variant: _parameters(runs[0]) for variant, runs in variants.items()},
        seconds={variant: _seconds(runs) for variant, runs in variants.items()},
        importance=importances(records, factors, chosen[0]),
        front=front(variants, objectives_of(words)),
        protocol=records[0].run.data["protocol"],
    )


def _factors(records: Sequence[Record]) -> dict[str, list[Any]]:
    paths = dict.fromkeys(path for record in records for path in record.settings)
    found = {}
    for path in paths:
        values = list(dict.fromkeys(_hashable(record.settings.get(path)) for record in records))
        if len(values) > 1:
            found[path] = values
    return found


def _hashable(value: Any) -> Any:
    return tuple(_hashable(item) for item in value) if isinstance(value, list) else value


def _name(record: Record, by: Sequence[str]) -> str:
    """`talking_heads, weight 0.1`: values, with the last word of their field where it is not plain text."""
    words = []
    for path in by:
        value = record.settings.get(path)
        words.append(value if isinstance(value, str) else f"{path.rpartition('.')[2]} {value}")
    return ", ".join(words) or "all runs"


def _metrics(records: Sequence[Record], wanted: Sequence[str]) -> list[str]:
    known = list(dict.fromkeys(name for record in records for name in record.values))
    if not wanted:
        overall = [name for name in records[0].run.evaluations[SPLIT]["overall"] if name in known]
        main = "accuracy" if "accuracy" in overall else "auroc"
        overall.sort(key=lambda name: name != main)
        explained = [name for name in known if name.count("/") == 1 and name.partition("/")[2] in SHOWN]
        return overall + [name for name in explained if name.partition("/")[0] in _methods(records)]
    chosen: list[str] = []
    for pattern in wanted:
        names = fnmatch.filter(known, pattern)
        if not names:
            raise ConfigError(f"--metrics {pattern}: no run has it. {nearest(pattern, known)}")
        chosen += [name for name in names if name not in chosen]
    return chosen


def _methods(records: Sequence[Record]) -> set[str]:
    return {"attention"} | {m for record in records for m in record.run.config["interpret"]["methods"]}


def _blocks(
    variants: dict[str, list[Record]], by: Sequence[str], factors: dict[str, list[Any]]
) -> list[dict[str, Record]]:
    """Runs that match in all but the variant: by seed, fold and the other factors."""
    others = [path for path in factors if path not in by]
    blocks: dict[tuple[Any, ...], dict[str, Record]] = {}
    for variant, runs in variants.items():
        for record in runs:
            key = tuple(_hashable(record.settings.get(path)) for path in others)
            blocks.setdefault(key, {})[variant] = record
    return list(blocks.values())


def _matrix(metric: str, blocks: list[dict[str, Record]], variants: dict[str, list[Record]]) -> np.ndarray:
    nan = float("nan")
    return np.array([[b[v].values.get(metric, nan) if v in b else nan for v in variants] for b in blocks])


def _tests(metric: str, variants: dict[str, list[Record]], blocks: list[dict[str, Record]]) -> list[Test]:
    names, values = list(variants), _matrix(metric, blocks, variants)
    pairs = list(itertools.combinations(range(len(names)), 2))
    records = [record for runs in variants.values() for record in runs]
    folds = {record.settings.get("data.fold") for record in records}
    splits = records[0].run.data["splits"]
    share = splits[SPLIT]["n"] / splits["train"]["n"] if len(folds) > 1 else 0.0
    found = [paired(values[:, a] - values[:, b], share) for a, b in pairs]
    cells = {name: _per_cell(runs, metric) for name, runs in variants.items()}
    p_cells = np.array([_p_cells(cells[names[a]], cells[names[b]]) for a, b in pairs])
    adjusted, cells_adjusted = holm(np.array([test.p for test in found])), holm(p_cells)
    return [
        Test(metric, names[a], names[b], test, float(p), float(raw), float(corrected))
        for (a, b), test, p, raw, corrected in zip(pairs, found, adjusted, p_cells, cells_adjusted, strict=True)
    ]


def _per_cell(runs: Sequence[Record], metric: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Value of each cell, averaged over the runs, and its group; None where runs differ in cells."""
    if len({run.settings.get("data.fold") for run in runs}) > 1:
        return None
    found = [of_run for run in runs if (of_run := run.per_cell(metric)) is not None]
    if len(found) < len(runs) or len({len(values) for values, _ in found}) > 1:
        return None
    return np.mean([values for values, _ in found], axis=0), found[0][1]


def _p_cells(first: tuple[np.ndarray, np.ndarray] | None, second: tuple[np.ndarray, np.ndarray] | None) -> float:
    if first is None or second is None or len(first[0]) != len(second[0]):
        return float("nan")
    return paired_permutation(first[0] - second[0], first[1])


def _mean(runs: Sequence[Record], metric: str) -> Interval:
    """Over seeds and folds; of a single run the interval over cells that it stored."""
    known = [run for run in runs if metric in run.values]
    if len(known) == 1:
        return Interval.from_dict(known[0].intervals[metric])
    return over_runs(np.array([run.values[metric] for run in known]))


def _seconds(runs: Sequence[Record]) -> float | None:
    known = [run.seconds for run in runs if run.seconds is not None]
    return float(np.mean(known)) if known else None


def _parameters(record: Record) -> int:
    """Number of parameters, from the model's shapes alone."""
    import jax

    from spermjax.models.build import build_model, init_variables

    experiment = Experiment.from_dict(record.run.config)
    task = Task.from_dict(record.run.data["task"])
    model = build_model(experiment.model, task.num_outputs)
    shapes = jax.eval_shape(lambda: init_variables(model, jax.random.key(0), experiment.data.image_size)["params"])
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))
