"""The variants that no other one beats on all objectives of a sweep at once."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from spermjax.evaluate.intervals import Interval
from spermjax.sweep.compare.load import Record
from spermjax.sweep.compare.statistics import over_runs
from spermjax.sweep.sweepfile import Objective, from_dict
from spermjax.sweep.values import reached


@dataclasses.dataclass(frozen=True)
class Front:
    """Variants by the objectives of a sweep.

    Attributes:
        objectives: two or more.
        values: of each objective by variant, over its runs; variants without one of them are left out.
        best: the variants on the front, by the first objective.
    """

    objectives: tuple[Objective, ...]
    values: dict[str, tuple[Interval, ...]]
    best: list[str]


def unbeaten(values: Float[np.ndarray, "points objectives"]) -> Bool[np.ndarray, "points"]:
    """Points that no other equals or exceeds in all objectives and exceeds in one (Pareto); higher is better."""
    at_least = (values[:, None] >= values[None]).all(-1)
    above = (values[:, None] > values[None]).any(-1)
    return ~np.any(at_least & above, axis=0)


def objectives_of(words: Sequence[str]) -> tuple[Objective, ...]:
    """The objectives of the first of these folders that is a sweep with several; else none."""
    for path in (Path(word) / "sweep.json" for word in words):
        if path.is_file():
            content = json.loads(path.read_text())
            found = from_dict(content["sweep"], str(path), content["name"]).objectives
            if len(found) > 1:
                return found
    return ()


def front(variants: Mapping[str, Sequence[Record]], objectives: tuple[Objective, ...]) -> Front | None:
    """The front of the variants' means.

    Args:
        variants: their runs.
        objectives: of the sweep; None is returned where there are none.
    """
    values: dict[str, tuple[Interval, ...]] = {}
    for variant, records in variants.items() if objectives else ():
        runs = [reached(record.run.path) for record in records]
        if all(run.get(o.name) is not None for run in runs for o in objectives):
            values[variant] = tuple(over_runs(np.array([run[o.name] for run in runs], float)) for o in objectives)
    if not values:
        return None
    signs = np.array([1.0 if objective.goal == "maximize" else -1.0 for objective in objectives])
    points = np.array([[interval.value for interval in intervals] for intervals in values.values()]) * signs
    best = [(point[0], variant) for point, variant, kept in zip(points, values, unbeaten(points), strict=True) if kept]
    return Front(objectives, values, [variant for _, variant in sorted(best, key=lambda pair: -pair[0])])
