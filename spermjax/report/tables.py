"""The tables of explanation metrics: methods against metrics, regions, or attention alone."""

import dataclasses
from typing import Any

from spermjax.report.load import Explanations

ATTENTION = "attention"
"""In place of a method: what is measured on the model's attention itself."""


@dataclasses.dataclass(frozen=True)
class Table:
    """One table; `cells[method][column]` is a row of the summary with `mark`, or absent.

    Attributes:
        title: what it shows.
        columns: metrics, or regions of one metric.
        better: direction by column, None where neither is good.
        methods: first group of rows.
        baselines: second group, set apart.
        cells: the numbers; `mark` is `best` for the best method of a column, `weak`
            for one whose value does not beat the best baseline, else empty.
    """

    title: str
    columns: list[str]
    better: dict[str, str | None]
    methods: list[str]
    baselines: list[str]
    cells: dict[str, dict[str, dict[str, Any]]]


def tables(explained: Explanations, baselines: set[str]) -> list[Table]:
    """Splits a summary into tables that read well.

    Args:
        explained: what `explain` left.
        baselines: names of the methods that know nothing of the model.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in explained.rows:
        metric, _, region = row["metric"].partition("/")
        whose = "Attention" if row["method"] == ATTENTION else "Explanations"
        groups.setdefault(f"{whose}: {metric} by region" if region else whose, []).append(
            {**row, "column": region or metric}
        )
    order = sorted(groups, key=lambda name: (name.partition(":")[0] == "Attention", ":" in name))
    return [_table(name, groups[name], baselines) for name in order]


def _table(title: str, rows: list[dict[str, Any]], baselines: set[str]) -> Table:
    columns = list(dict.fromkeys(row["column"] for row in rows))
    names = list(dict.fromkeys(row["method"] for row in rows))
    better = {row["column"]: row.get("better") for row in rows}
    cells: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in names}
    for row in rows:
        cells[row["method"]][row["column"]] = {**row, "mark": ""}
    for column in columns:
        _mark([cells[name][column] for name in names if column in cells[name]], better[column], baselines)
    return Table(
        title=title,
        columns=columns,
        better=better,
        methods=[name for name in names if name not in baselines],
        baselines=[name for name in names if name in baselines],
        cells=cells,
    )


def _mark(cells: list[dict[str, Any]], better: str | None, baselines: set[str]) -> None:
    """Marks the best method of a column and those that do not beat the best baseline."""
    sign = {"higher": 1, "lower": -1}.get(better or "")
    defined = [cell for cell in cells if cell["value"] is not None]
    methods = [cell for cell in defined if cell["method"] not in baselines]
    if sign is None or not methods:
        return
    to_beat = max((sign * cell["value"] for cell in defined if cell["method"] in baselines), default=float("-inf"))
    for cell in methods:
        cell["mark"] = "weak" if sign * cell["value"] <= to_beat else ""
    best = max(methods, key=lambda cell: sign * cell["value"])
    best["mark"] = best["mark"] or "best"
