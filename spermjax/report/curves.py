"""Learning curves as SVG that takes its colours and fonts from the page."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from spermjax.report import words

Lines = Sequence[Mapping[str, float | None]]

SERIES = 8
INK, MUTED = "#0a0b0c", "#0a0b0d"
_PAGE_COLOURS = {INK: "var(--ink)", MUTED: "var(--rule)"} | {
    f"#0a0b1{i}": f"var(--series-{i + 1})" for i in range(SERIES)
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "spermjax",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": MUTED,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


def panels(lines: Lines) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Which recorded values are drawn together.

    Losses share a panel, so do the plain validation metrics; the values of one metric
    for several attributes share one, and so do those of one metric for several
    explanation methods.

    Args:
        lines: of `metrics.jsonl`.

    Returns:
        Names of values by the title of their panel: the ones to show first, and the
        others (explanation metrics for single parts).
    """
    first: dict[str, list[str]] = {}
    rest: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for line in lines for name in line):
        where, *path = name.split("/")
        if where in ("train", "validation") and "loss" in path[-1]:
            first.setdefault("Loss", []).append(name)
        elif where == "validation" and len(path) == 1:
            first.setdefault("Validation", []).append(name)
        elif where == "validation":
            first.setdefault(f"Validation: {path[0]}", []).append(name)
        elif where == "interpret" and len(path) > 1:
            group = first if len(path) == 2 and path[0] != "attention" else rest
            group.setdefault(f"Explanations: {' '.join(path[1:])}", []).append(name)
    return first, rest


def curve(title: str, names: Sequence[str], lines: Lines) -> Markup:
    """One panel as inline SVG; the abscissa is the epoch where lines have one, else the step.

    Args:
        title: of the panel.
        names: recorded values to draw, by their full names.
        lines: of `metrics.jsonl`.
    """
    unit = "epoch" if all("epoch" in line for line in lines) else "step"
    with rc_context(STYLE):
        figure = Figure(figsize=(4.1, 2.7), layout="constrained")
        axes = figure.add_subplot()
        for number, name in enumerate(names):
            points = [(line[unit], line[name]) for line in lines if line.get(name) is not None]
            axes.plot(
                *zip(*points, strict=True) if points else ([], []),
                color=f"#0a0b1{number % SERIES}",
                linestyle=("-", "--", ":")[number // SERIES % 3],
                marker="o" if len(points) < 40 else "",
                markersize=2.5,
                label=_label(name, names),
            )
        axes.set_title(words.title(title))
        axes.set_xlabel(unit)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.margins(x=0.02)
        axes.legend(fontsize=8, ncols=1 if len(names) < 4 else 2, handlelength=1.4)
        return inline(figure, title)


def inline(figure: Figure, title: str) -> Markup:
    """A figure drawn in `STYLE` as SVG for a page.

    Args:
        figure: whose colours are `INK`, `MUTED` and `#0a0b1N` for series N.
        title: unique on the page.
    """
    out = io.StringIO()
    FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None})
    return Markup(_of_the_page(out.getvalue(), title))


def _label(name: str, names: Sequence[str]) -> str:
    """What tells a value from the others of its panel."""
    paths = [other.split("/") for other in names]
    path = name.split("/")
    kept = [word for place, word in enumerate(path) if len({other[place] for other in paths if place < len(other)}) > 1]
    return words.title(" ".join(kept or path[-1:]))


def _of_the_page(svg: str, title: str) -> str:
    """Colours become the page's (its style sheet sets the font), and names are unique on the page."""
    svg = svg[svg.index("<svg") :]
    for colour, variable in _PAGE_COLOURS.items():
        svg = svg.replace(colour, variable)
    prefix = re.sub(r"\W+", "-", title.lower())
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    return re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
