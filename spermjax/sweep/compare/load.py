"""The runs to compare: found by folder, sweep or pattern, read, and held to the same split."""

import csv
import dataclasses
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spermjax.errors import ConfigError
from spermjax.report.load import Run, load

SPLIT = "validation"
IGNORED = ("name", "tracking.", "interpret.", "parallel.", "data.manual_dir", "data.data_dir")
"""Fields that change no result, and so make no variant."""
DIVISION = ("data.name", "data.split", "data.folds", "data.split_seed")


@dataclasses.dataclass(frozen=True)
class Failed:
    """A run without a result.

    Attributes:
        name: of the run.
        why: it has none.
    """

    name: str
    why: str


@dataclasses.dataclass(frozen=True)
class Record:
    """A finished run.

    Attributes:
        run: its folder in memory.
        settings: of the experiment, flat, by dotted path; those that change no result left out.
        values: of each metric on the split, by `accuracy`, `recall/normal` or `rollout/pointing_game`.
        intervals: over cells, of the same, where the run stored them.
        better: `higher` or `lower` for those where either is better.
    """

    run: Run
    settings: dict[str, Any]
    values: dict[str, float]
    intervals: dict[str, dict[str, Any]]
    better: dict[str, str | None]

    @property
    def name(self) -> str:
        return f"{self.run.path.parent.name}/{self.run.path.name}"

    @property
    def ids(self) -> list[str]:
        """Identities of the cells that were scored."""
        return self.run.data["splits"][SPLIT]["ids"]

    @property
    def seconds(self) -> float | None:
        """Time in training steps: the median time of a step times their number, so that pauses don't count."""
        points = [
            (line["time"], line["step"])
            for line in self.run.metrics
            if "train/loss" in line and line["time"] is not None and line["step"] is not None
        ]
        rates = [
            (time - before) / (step - last)
            for (before, last), (time, step) in itertools.pairwise(points)
            if step > last
        ]
        return float(np.median(rates)) * points[-1][1] if rates else None

    def per_cell(self, metric: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Value and group of each cell, in order, where the metric has one for each cell; else None."""
        name, _, attribute = metric.partition("/")
        if name == "accuracy":
            columns = _columns(self.run.path / f"evaluation/{SPLIT}.csv")
            true, predicted = (columns[f"{kind}_{attribute}" if attribute else kind] for kind in ("label", "predicted"))
            right = [float(a == b) if a else np.nan for a, b in zip(true, predicted, strict=True)]
            return np.array(right), np.array(columns["group"])
        path = self.run.path / f"explanations/{SPLIT}/table.csv"
        columns = _columns(path) if path.exists() else {}
        if metric not in columns:
            return None
        return np.array([float(value) if value else np.nan for value in columns[metric]]), np.array(columns["group"])


def find(words: Sequence[str]) -> tuple[list[Path], list[Failed]]:
    """Folders of the runs that the words name, each once, and those that a sweep could not finish.

    Args:
        words: run folders, sweep folders, folders that hold runs, or patterns.

    Raises:
        ConfigError: a word names no run.
    """
    found: dict[Path, None] = {}
    failed: list[Failed] = []
    for word in words:
        pattern = Path(word)
        paths = (
            sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
            if any(sign in word for sign in "*?[")
            else [pattern]
        )
        here = [config.parent for path in paths for config in _configs(path)]
        if not here:
            raise ConfigError(f"{word} names no run: no folder there holds a config.json, as runs/EXPERIMENT/ID does.")
        found |= dict.fromkeys(here)
        for path in paths:
            if (path / "trials.csv").exists():
                rows = csv.DictReader((path / "trials.csv").read_text().splitlines())
                failed += [
                    Failed(f"trial {row['trial']}", row["error"] or row["state"])
                    for row in rows
                    if row["state"] != "complete"
                ]
    return list(found), failed


def _configs(path: Path) -> list[Path]:
    return [path / "config.json"] if (path / "config.json").is_file() else sorted(path.glob("**/config.json"))


def read(paths: Sequence[Path]) -> tuple[list[Record], list[Failed]]:
    """Reads runs; one without scores is set aside.

    Raises:
        SpermjaxError: a file of a run is damaged.
    """
    records, failed = [], []
    for path in paths:
        run = load(path)
        if SPLIT not in run.evaluations:
            failed.append(Failed(f"{path.parent.name}/{path.name}", "not finished: it has no scores"))
            continue
        records.append(_record(run))
    return records, failed


def _record(run: Run) -> Record:
    scores = run.evaluations[SPLIT]
    intervals = dict(scores["overall"])
    intervals |= {
        f"{metric}/{name}": v for name, metrics in scores["per_name"].items() for metric, v in metrics.items()
    }
    better: dict[str, str | None] = {
        name: "lower" if name.partition("/")[0] in ("log_loss", "calibration_error") else "higher" for name in intervals
    }
    explained = run.explanations.get(SPLIT)
    for row in explained.rows if explained else []:
        if not row.get("baseline") and row["value"] is not None:
            name = f"{row['method']}/{row['metric']}"
            intervals[name], better[name] = row, row["better"]
    values = {name: float(v["value"]) for name, v in intervals.items() if v["value"] is not None}
    settings = {path: value for path, value in _flat(run.config, "").items() if not path.startswith(IGNORED)}
    return Record(run, settings, values, intervals, better)


def _flat(tree: Any, prefix: str) -> dict[str, Any]:
    if not isinstance(tree, dict) or (prefix and not tree):
        return {prefix: tree}
    return {p: v for key, value in tree.items() for p, v in _flat(value, f"{prefix}.{key}" if prefix else key).items()}


def _columns(path: Path) -> dict[str, list[str]]:
    header, *rows = csv.reader(path.read_text().splitlines())
    return {name: [row[place] for row in rows] for place, name in enumerate(header)}


def refuse_other_splits(records: Sequence[Record]) -> None:
    """Makes sure that runs of one fold were scored on the same cells of the same data.

    Raises:
        ConfigError: saying which runs differ, in what, and what to do.
    """
    first = records[0]
    for other in records[1:]:
        changed = [path for path in DIVISION if other.settings.get(path) != first.settings.get(path)]
        if changed:
            said = ", ".join(f"{p} is {first.settings.get(p)!r} and {other.settings.get(p)!r}" for p in changed)
            raise _refusal(first, other, f"{said}")
    by_fold: dict[Any, Record] = {}
    for record in records:
        one = by_fold.setdefault(record.settings.get("data.fold"), record)
        if record.run.data["fingerprint"] != one.run.data["fingerprint"]:
            a, b = one.run.data["fingerprint"][:12], record.run.data["fingerprint"][:12]
            raise _refusal(one, record, f"the data themselves differ (fingerprint {a} and {b})")
        if _digest(record.ids) != _digest(one.ids):
            both = len(set(record.ids) & set(one.ids))
            said = f"the {SPLIT} splits hold {len(one.ids)} and {len(record.ids)} cells, of which {both} are the same"
            raise _refusal(one, record, said)


def _refusal(first: Record, other: Record, why: str) -> ConfigError:
    return ConfigError(
        f"{first.name} and {other.name} can't be compared, since they were scored on different cells: {why}. "
        "A difference between them would be one between splits. Train both on the same split, or leave one out."
    )


def _digest(ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()
