"""A comparison as CSV, LaTeX, Markdown, one HTML page, and data for a W&B report."""

import csv
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from spermjax.evaluate.intervals import Interval
from spermjax.files import write_atomic
from spermjax.report import words
from spermjax.report.build import TEMPLATES as REPORT_TEMPLATES
from spermjax.run import write_json
from spermjax.sweep.compare import figures
from spermjax.sweep.compare.pareto import Front
from spermjax.sweep.compare.result import Comparison, Test

TEMPLATES = Path(__file__).parent
SIGNIFICANT = 0.05
COLUMNS = 5
"""Metrics in the tables for reading; the CSV files hold all that were asked for."""


def write(comparison: Comparison, out: Path) -> Path:
    """Writes `index.html`, `table.csv`, `tests.csv`, `runs.csv`, `table.tex`, `table.md` and `wandb.json`.

    Of a sweep with several objectives also `pareto.csv`.

    Args:
        comparison: what to write.
        out: a folder; made if need be.

    Returns:
        Path of the page.

    Raises:
        SpermjaxError: it can't be written.
    """
    write_atomic(out / "table.csv", _csv(table_rows(comparison)))
    write_atomic(out / "tests.csv", _csv([test_row(test) for test in comparison.tests]))
    write_atomic(out / "runs.csv", _csv(run_rows(comparison)))
    if comparison.front is not None:
        write_atomic(out / "pareto.csv", _csv(front_rows(comparison.front)))
    write_atomic(out / "table.md", markdown(comparison))
    write_atomic(out / "table.tex", latex(comparison))
    write_json(out / "wandb.json", wandb_report(comparison))
    page = out / "index.html"
    write_atomic(page, html(comparison))
    return page


def cell(interval: Interval, digits: int = 3) -> str:
    """`0.912 [0.884, 0.935]`, without bounds where there are none; a dash where undefined."""
    if math.isnan(interval.value):
        return "-"
    # Adding zero turns -0.0 into 0.0.
    value, low, high = (round(number, digits) + 0.0 for number in (interval.value, interval.low, interval.high))
    return f"{value:.{digits}f}" if math.isnan(low) else f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def header(comparison: Comparison) -> list[str]:
    """Titles of the columns for reading."""
    arrows = {"higher": " ↑", "lower": " ↓", None: ""}
    shown = [name + arrows[comparison.better[name]] for name in comparison.metrics[:COLUMNS]]
    return ["variant", "runs", *shown, "rank", "parameters", "training s"]


def rows(comparison: Comparison) -> list[list[str]]:
    """The table for reading: a row for each variant."""
    ranked = comparison.ranks.get(comparison.metrics[0])
    return [
        [
            variant,
            str(len(runs)),
            *(cell(comparison.means[variant, metric]) for metric in comparison.metrics[:COLUMNS]),
            f"{ranked.mean[place]:.2f}" if ranked else "-",
            f"{comparison.parameters[variant]:,}",
            "-" if (seconds := comparison.seconds[variant]) is None else f"{seconds:.0f}",
        ]
        for place, (variant, runs) in enumerate(comparison.variants.items())
    ]


def notes(comparison: Comparison) -> list[str]:
    """What the numbers are, in sentences."""
    said = [
        f"{comparison.protocol}; validation split.",
        "Brackets are 95 % intervals: over seeds and folds (Student) where a variant has several runs, "
        "else over cells, clustered by group.",
    ]
    ranked = comparison.ranks.get(comparison.metrics[0])
    if ranked:
        critical = f"{ranked.critical_difference:.2f}" if not math.isnan(ranked.critical_difference) else "not defined"
        friedman = "" if math.isnan(ranked.p) else f", Friedman p {ranked.p:.3g}"
        said.append(
            f"Ranks are of {comparison.metrics[0]} over {ranked.blocks} matched sets of runs; critical difference "
            f"{critical} (Nemenyi, 5 %){friedman}."
        )
    said.append(
        "Tests pair runs of the same seed, fold and other factors (Student; over folds with the correction of Nadeau & "
        "Bengio 2003), and the same cells by group (permutation); p values are Holm's, over the pairs of a metric."
    )
    if comparison.front is not None:
        names = " and ".join(words.title(objective.name) for objective in comparison.front.objectives)
        said.append(f"No variant is better on {names} at once than (Pareto front): {'; '.join(comparison.front.best)}.")
    if comparison.failed:
        said.append(f"{len(comparison.failed)} runs came to no result: {', '.join(f.name for f in comparison.failed)}.")
    return said


def verdict(comparison: Comparison) -> str:
    """Whether the variants differ on the main metric, in one sentence."""
    metric = comparison.metrics[0]
    tests = [test for test in comparison.tests if test.metric == metric]
    if not tests:
        return f"There is one variant: {next(iter(comparison.variants))}."
    sure = [test for test in tests if min(_known(test.p_adjusted), 1.0) < SIGNIFICANT]
    if not sure:
        least = min((_known(test.p_adjusted) for test in tests), default=1.0)
        return (
            f"No two of the {len(comparison.variants)} variants differ on {words.title(metric)} beyond what seeds "
            f"do (least adjusted p {least:.2g}, {len(comparison.records)} runs)."
        )
    best = max(sure, key=lambda test: abs(test.paired.difference.value))
    higher, lower = best.first, best.second
    if best.paired.difference.value < 0:
        higher, lower = lower, higher
    bounds = best.paired.difference
    low, high = sorted((abs(bounds.low), abs(bounds.high)))
    return (
        f"{len(sure)} of {len(tests)} pairs differ on {words.title(metric)}; the largest difference is that of "
        f"{higher} above {lower}: {abs(bounds.value):.3f} [{low:.3f}, {high:.3f}], adjusted p {best.p_adjusted:.2g}."
    )


def _known(p: float) -> float:
    return 1.0 if math.isnan(p) else p


def table_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A row for each variant and metric."""
    return [
        {
            "variant": variant,
            "metric": metric,
            **{k: _number(v) for k, v in interval.to_dict().items()},
            "runs": len(comparison.variants[variant]),
            "rank": _number(comparison.ranks[metric].mean[list(comparison.variants).index(variant)])
            if metric in comparison.ranks
            else "",
            "parameters": comparison.parameters[variant],
            "training_seconds": _number(comparison.seconds[variant]),
        }
        for (variant, metric), interval in comparison.means.items()
    ]


def test_row(test: Test) -> dict[str, Any]:
    """A pair of variants on one metric."""
    difference = test.paired.difference
    values = {
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "pairs": difference.n,
        "p": test.paired.p,
        "p_holm": test.p_adjusted,
        "effect_size": test.paired.effect,
        "p_cells": test.p_cells,
        "p_cells_holm": test.p_cells_adjusted,
    }
    numbers = {name: _number(value) for name, value in values.items()}
    return {"metric": test.metric, "first": test.first, "second": test.second, **numbers}


def front_rows(front: Front) -> list[dict[str, Any]]:
    """A row for each variant: its objectives, and whether it is on the front."""
    return [
        {
            "variant": variant,
            **{o.name: _number(i.value) for o, i in zip(front.objectives, intervals, strict=True)},
            "on_front": variant in front.best,
        }
        for variant, intervals in front.values.items()
    ]


def run_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A row for each run: where it is, what differs, and all its values."""
    names = list(dict.fromkeys(name for record in comparison.records for name in record.values))
    done = [
        {
            "run": str(record.run.path),
            "error": "",
            **{path: record.settings.get(path) for path in comparison.factors},
            **{name: _number(record.values.get(name)) for name in names},
        }
        for record in comparison.records
    ]
    return done + [{"run": failed.name, "error": failed.why} for failed in comparison.failed]


def _number(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _csv(lines: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for line in lines for key in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def markdown(comparison: Comparison) -> str:
    """The table for reading, with its notes."""
    lines = [header(comparison), ["---"] * len(header(comparison)), *rows(comparison)]
    table = "\n".join("| " + " | ".join(column.replace("|", "\\|") for column in line) + " |" for line in lines)
    return table + "\n\n" + "\n".join(f"- {note}" for note in notes(comparison)) + "\n"


def latex(comparison: Comparison) -> str:
    """A `tabular` for the booktabs package."""
    lines = [" & ".join(_tex(column) for column in line) + r" \\" for line in [header(comparison), *rows(comparison)]]
    body = "\n".join(f"  {line}" for line in lines[1:])
    comment = "\n".join(f"% {note}" for note in notes(comparison))
    columns = "l" + "r" * (len(header(comparison)) - 1)
    top = f"\\begin{{tabular}}{{{columns}}}\n  \\toprule\n  {lines[0]}\n  \\midrule\n"
    return f"{comment}\n{top}{body}\n  \\bottomrule\n\\end{{tabular}}\n"


def _tex(text: str) -> str:
    text = re.sub(r"([&%$#_{}])", r"\\\1", text)
    return text.replace("↑", r"$\uparrow$").replace("↓", r"$\downarrow$")


def wandb_report(comparison: Comparison) -> dict[str, Any]:
    """What a W&B report needs: the runs by their W&B identity, the tables, and the text."""
    identities = [record.run.path / "wandb" / "run_id" for record in comparison.records]
    tracking = comparison.records[0].run.config["tracking"]
    return {
        "project": tracking["project"],
        "title": " against ".join(list(comparison.variants)[:3]) or "comparison",
        "text": [verdict(comparison), *notes(comparison)],
        "runs": [path.read_text() for path in identities if path.exists()],
        "metrics": [f"validation/{name}" for name in comparison.metrics],
        "group_by": list(comparison.by),
        "table": {"columns": header(comparison), "data": rows(comparison)},
        "tests": [test_row(test) for test in comparison.tests],
        "importance": comparison.importance,
        "front": front_rows(comparison.front) if comparison.front else [],
    }


def html(comparison: Comparison) -> str:
    """One page that opens anywhere."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, REPORT_TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"title": words.title, "number": words.number, "cell": cell}
    method, pictures = figures.cells(comparison)
    main = comparison.metrics[0]
    return environment.get_template("page.html").render(
        comparison=comparison,
        main=main,
        verdict=verdict(comparison),
        notes=notes(comparison),
        metrics=comparison.metrics[:COLUMNS],
        more=len(comparison.metrics) - COLUMNS,
        tests=[test for test in comparison.tests if test.metric in comparison.metrics[:COLUMNS]],
        significant=SIGNIFICANT,
        curves=figures.learning_curves(comparison),
        coordinates=figures.parallel_coordinates(comparison),
        diagram=figures.rank_diagram(comparison),
        pareto=figures.pareto_front(comparison),
        method=method,
        pictures=pictures,
    )
