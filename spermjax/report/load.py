"""Reading a run folder: all that a report needs, and which of it is there."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from spermjax.data.task import Task
from spermjax.errors import SpermjaxError
from spermjax.npz import read_npz
from spermjax.tracking import read

SPLIT_ORDER = ("test", "validation", "train")


@dataclasses.dataclass(frozen=True)
class Explanations:
    """What `explain` left for one split.

    Attributes:
        split: name of the split.
        n: number of examples the summary rests on.
        rows: `{"method", "metric", "value", "low", "high", "n", "better"}` each.
        examples: arrays by name, the maps under `maps/<method>`.
    """

    split: str
    n: int
    rows: list[dict[str, Any]]
    examples: dict[str, np.ndarray]

    @property
    def methods(self) -> list[str]:
        """Methods that have maps."""
        return [name.removeprefix("maps/") for name in self.examples if name.startswith("maps/")]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder in memory; what is absent is empty.

    Attributes:
        path: the folder.
        config: the experiment as stored.
        environment: versions, devices and command.
        data: name, fingerprint, protocol and splits of the data set.
        metrics: lines of `metrics.jsonl`.
        evaluations: scores by split, the test split first.
        explanations: by split, the test split first.
    """

    path: Path
    config: dict[str, Any]
    environment: dict[str, Any]
    data: dict[str, Any]
    metrics: list[dict[str, float | None]]
    evaluations: dict[str, dict[str, Any]]
    explanations: dict[str, Explanations]

    @property
    def task(self) -> Task | None:
        """What the data set asks, where the run says so."""
        return Task.from_dict(self.data["task"]) if "task" in self.data else None


def load(path: Path) -> Run:
    """Reads a run folder.

    Raises:
        SpermjaxError: it is no run folder, or a file in it can't be read.
    """
    if not (path / "config.json").is_file():
        raise SpermjaxError(
            f"{path} is not a run folder: it has no config.json. Give a folder that `spermjax train` made, "
            "such as runs/phantom_quickstart/<run id>."
        )
    evaluated = [file.stem for file in path.glob("evaluation/*.json")]
    explained = [folder.name for folder in path.glob("explanations/*") if folder.is_dir()]
    return Run(
        path=path,
        config=_json(path / "config.json"),
        environment=_json(path / "environment.json"),
        data=_json(path / "data.json"),
        metrics=read(path),
        evaluations={split: _json(path / f"evaluation/{split}.json") for split in _ordered(evaluated)},
        explanations={split: _explanations(path / "explanations" / split) for split in _ordered(explained)},
    )


def _ordered(splits: Iterable[str]) -> list[str]:
    return sorted(splits, key=lambda name: (SPLIT_ORDER.index(name) if name in SPLIT_ORDER else len(SPLIT_ORDER), name))


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpermjaxError(f"{path} can't be read as JSON: {error}. Evaluate or explain the run again.") from error


def _explanations(folder: Path) -> Explanations:
    summary, path, examples = _json(folder / "summary.json"), folder / "examples.npz", {}
    if path.exists():
        try:
            examples = read_npz(path)
        except ValueError as error:
            raise SpermjaxError(f"{path} can't be read: {error}. Explain the run again.") from error
    return Explanations(folder.name, int(summary.get("n", 0)), summary.get("rows", []), examples)
