"""The report of a run."""

from pathlib import Path

from spermjax.report import build_report
from spermjax.run import Run


def report(run: Run) -> Path:
    """Writes the run's report from what the folder holds, and returns the page."""
    return build_report(run.path)
