"""What a metric of an explanation is, and the registry of metrics."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

from jaxtyping import Array, Float

from spermjax.registry import Registry


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number per example, NaN where it is undefined.

    Attributes:
        name: how it is asked for.
        function: batched and jittable; takes what `needs` names as keyword arguments
            and returns `[batch]`, or `[batch, regions]` in the order of
            `spermjax.parts.REGIONS`.
        needs: names of its arguments, out of `map` (pixels), `mask` (the parts that
            decide), `regions` (all masks), `patch_scores` (the map on patches),
            `attention`, `spec`, `coverage` (regions on patches), and `model`,
            `variables`, `images`, `targets`, `kind`, `chunk`.
        better: which direction is good, or None where neither is.
        citation: author and year.
        standard: whether it is measured when no metric is named.
        of_tokens: whether it leaves patch tokens out, which the model must allow.
    """

    name: str
    function: Callable[..., Float[Array, "batch *regions"]]
    needs: frozenset[str]
    better: Literal["higher", "lower"] | None
    citation: str
    standard: bool = True
    of_tokens: bool = False

    @property
    def of_attention(self) -> bool:
        """Whether it measures the model's attention itself, not an explanation."""
        return "attention" in self.needs

    @property
    def of_masks(self) -> bool:
        """Whether it is undefined for an example without part masks."""
        return bool(self.needs & {"mask", "regions", "coverage"})

    def using(self, name: str, **options: Any) -> "Metric":
        """This metric with other options, under another name."""
        return dataclasses.replace(self, name=name, function=functools.partial(self.function, **options))


METRICS: Registry[Metric] = Registry("metric")


def register(metric: Metric) -> Metric:
    """Files a metric under its own name."""
    return METRICS.register(metric.name)(metric)
