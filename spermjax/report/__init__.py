"""One page for one run: what it reached, where it looked, and how sure one can be."""

from spermjax.report.build import build_report
from spermjax.report.figures import PART_COLOURS, panel

__all__ = ["PART_COLOURS", "build_report", "panel"]
