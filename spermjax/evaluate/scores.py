"""What an evaluation yields: estimates with intervals, counts, and confusion."""

import dataclasses
from typing import Any

from spermjax.data.task import Task
from spermjax.evaluate.intervals import LEVEL, RESAMPLES, Interval


@dataclasses.dataclass(frozen=True)
class Scores:
    """Classification metrics of one model on one split.

    Attributes:
        task: what was asked.
        n: examples with a label.
        groups: independent groups among them.
        overall: metrics of the whole task by name.
        per_name: metrics by class or attribute, then by name.
        counts: number of examples by class or attribute: `support`, or `normal`,
            `abnormal` and `missing`.
        confusion: rows true, columns predicted: one matrix under `label` over the
            classes, or a matrix over (normal, abnormal) for each attribute.
    """

    task: Task
    n: int
    groups: int
    overall: dict[str, Interval]
    per_name: dict[str, dict[str, Interval]]
    counts: dict[str, dict[str, int]]
    confusion: dict[str, list[list[int]]]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with NaN as None."""
        return {
            "task": self.task.to_dict(),
            "n": self.n,
            "groups": self.groups,
            "intervals": (
                f"{LEVEL:.0%}: Wilson with design effect for accuracy, precision and recall; "
                f"BCa bootstrap over groups, {RESAMPLES} resamples, for the rest"
            ),
            "overall": {metric: interval.to_dict() for metric, interval in self.overall.items()},
            "per_name": {
                name: {metric: interval.to_dict() for metric, interval in metrics.items()}
                for name, metrics in self.per_name.items()
            },
            "counts": self.counts,
            "confusion": self.confusion,
        }
