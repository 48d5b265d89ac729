"""Runs beside each other: one table with intervals and tests, and one page."""

from spermjax.sweep.compare.result import Comparison, compare
from spermjax.sweep.compare.write import write

__all__ = ["Comparison", "compare", "write"]
