"""From a run folder to one page that opens anywhere, also without a network."""

from pathlib import Path
from typing import Any

import jinja2

from spermjax.files import write_atomic
from spermjax.report import words
from spermjax.report.curves import curve, panels
from spermjax.report.figures import PART_COLOURS
from spermjax.report.gallery import cases
from spermjax.report.load import Run, load
from spermjax.report.tables import tables

TEMPLATES = Path(__file__).parent / "templates"


def build_report(run: Path) -> Path:
    """Writes `<run>/report/index.html` from what is in the run folder.

    What is not there yet (an evaluation, explanations, masks) is said on the page.

    Args:
        run: the run's folder.

    Returns:
        Path of the page.

    Raises:
        SpermjaxError: it is no run folder, a file in it is damaged, or the page can't
            be written.
    """
    loaded = load(run)
    path = run / "report" / "index.html"
    write_atomic(path, _render(loaded))
    return path


def _render(run: Run) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": words.number,
        "interval": words.interval,
        "percent": words.percent,
        "title": words.title,
    }
    first, rest = panels(run.metrics)
    baselines = _baselines(run)
    return environment.get_template("report.html").render(
        run=run,
        name=run.config.get("name", run.path.parent.name),
        verdict=words.verdict(run, baselines),
        curves=[curve(title, names, run.metrics) for title, names in first.items()],
        more_curves=[curve(title, names, run.metrics) for title, names in rest.items()],
        explanations=[
            (explained, tables(explained, baselines), *(cases(explained, run.task) if run.task else ([], [])))
            for explained in run.explanations.values()
        ],
        part_colours=PART_COLOURS,
        settings=_flat(run.config),
    )


def _baselines(run: Run) -> set[str]:
    """The explained methods that know nothing of the model."""
    if not any(explained.rows for explained in run.explanations.values()):
        return set()
    from spermjax.interpret.methods import METHODS

    return {name for name, method in METHODS.items() if method.citation == "baseline"}


def _flat(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings by section; what stands at the top is the section `experiment`."""
    sections: dict[str, dict[str, Any]] = {"experiment": {}}
    for name, value in config.items():
        if isinstance(value, dict):
            sections[name] = value
        else:
            sections["experiment"][name] = value
    return sections
