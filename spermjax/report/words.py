"""What the report says in sentences, and how it prints numbers."""

import math
from collections.abc import Mapping
from typing import Any

from spermjax.report.load import Explanations, Run

SPELLINGS = {
    "auroc": "ROC AUC",
    "cam": "CAM",
    "chefer2021b": "Chefer 2021b",
    "f0.5": "F0.5",
    "f1": "F1",
    "gaussian": "Gaussian",
    "gini": "Gini",
    "mhsma": "MHSMA",
    "scian": "SCIAN",
    "shapley": "Shapley",
    "vit": "ViT",
}
"""Words that are not written in small letters."""

VERDICT_METRICS = ("relevance_mass", "relevance_rank", "pointing_game", "insertion")


def number(value: float | None) -> str:
    """Three digits after the point; a dash where undefined."""
    return "—" if value is None or math.isnan(value) else f"{value:.3f}"


def interval(estimate: Mapping[str, Any]) -> str:
    """Bounds in brackets; empty where there are none."""
    if estimate.get("low") is None or estimate.get("high") is None:
        return ""
    return f"{number(estimate['low'])} to {number(estimate['high'])}"


def percent(share: float | None) -> str:
    """A share as percent with one digit."""
    return "—" if share is None else f"{100 * share:.1f}\u00a0%"


def title(name: str) -> str:
    """A name as it is read."""
    return " ".join(SPELLINGS.get(word, word) for word in name.replace("/", ": ").replace("_", " ").split(" "))


def verdict(run: Run, baselines: set[str]) -> list[str]:
    """The report in a few sentences.

    Args:
        run: the run.
        baselines: names of the methods that know nothing of the model.
    """
    sentences = []
    if run.evaluations:
        split, scores = next(iter(run.evaluations.items()))
        sentences += _of_scores(split, scores)
    else:
        sentences.append("This run has not been evaluated yet.")
    explained = next((some for some in run.explanations.values() if some.rows), None)
    sentences.append(_of_explanations(explained, baselines) if explained else "No explanations have been computed yet.")
    return sentences


def _of_scores(split: str, scores: Mapping[str, Any]) -> list[str]:
    overall, names = scores["overall"], scores["per_name"]
    single = scores["task"]["kind"] == "single_label"
    main, each = ("accuracy", "recall") if single else ("auroc", "auroc")
    known = {name: metrics[each]["value"] for name, metrics in names.items() if metrics[each]["value"] is not None}
    value = percent(overall[main]["value"]) if single else number(overall[main]["value"])
    bounds = " to ".join((percent if single else number)(overall[main][side]) for side in ("low", "high"))
    what = f"names the right class for {value}" if single else f"reaches a mean ROC AUC of {value}"
    sentences = [f"On {scores['n']} {split} cells the model {what} (95\u00a0% interval {bounds})."]
    if len(known) > 1:
        best, worst = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
        shown = percent if single else number
        sentences.append(
            f"It {'recognises' if single else 'judges'} {title(best)} best ({each if single else 'AUC'} "
            f"{shown(known[best])}) and {title(worst)} least ({shown(known[worst])})."
        )
    return sentences


def _of_explanations(explained: Explanations, baselines: set[str]) -> str:
    """Whether the best method beats the best baseline on the first metric that says where a map lies."""
    directed = {row["metric"] for row in explained.rows if row.get("better") == "higher"}
    metric = next((name for name in VERDICT_METRICS if name in directed), None)
    rows = [row for row in explained.rows if row["metric"] == metric and row["value"] is not None]
    methods = [row for row in rows if row["method"] not in baselines]
    rivals = [row for row in rows if row["method"] in baselines]
    if not methods:
        return (
            "The explanations were not measured against part masks, so this page shows where they lie without a score."
        )
    best = max(methods, key=lambda row: row["value"])
    said = (
        f"By {title(best['metric'])}, {title(best['method'])} explains best ({number(best['value'])}, {interval(best)})"
    )
    if not rivals:
        return f"{said}; no baseline was measured beside it."
    rival = max(rivals, key=lambda row: row["value"])
    if best["low"] is not None and rival["high"] is not None and best["low"] > rival["high"]:
        return f"{said}, above the best baseline, {title(rival['method'])} ({number(rival['value'])})."
    return f"{said}, which is not clearly above the best baseline, {title(rival['method'])} ({number(rival['value'])})."
