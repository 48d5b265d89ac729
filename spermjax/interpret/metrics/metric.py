"""What a metric of an explanation is, and the registry of metrics."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

from jaxtyping import Array, Float

from spermjax.registry import Registry


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number per example, NaN where it is undefined.

    Attributes:
        name: how it is asked for.
        function: batched and jittable; takes what `needs` names as keyword arguments
            and returns `[batch]`, `[batch, regions]` in the order of
            `spermjax.parts.REGIONS`, or several `[batch]` by name.
        needs: names of its arguments, out of `map` (pixels), `mask` (the parts that
            decide), `regions` (all masks), `patch_scores` (the map on patches),
            `attention`, `spec`, `coverage` (regions on patches), `explain` (the method,
            see `spermjax.interpret.metrics.robustness`), and `model`, `variables`,
            `images`, `targets`, `parts`, `index`, `kind`, `chunk`.
        better: which direction is good, or None where neither is.
        citation: author and year.
        standard: whether it is measured when no metric is named.
        of_tokens: whether it leaves patch tokens out, which the model must allow.
        alone: as for a method, see `spermjax.interpret.methods.method`.
    """

    name: str
    function: Callable[..., Float[Array, "batch *regions"] | Mapping[str, Float[Array, "batch"]]]
    needs: frozenset[str]
    better: Literal["higher", "lower"] | None
    citation: str
    standard: bool = True
    of_tokens: bool = False
    alone: bool = False

    @property
    def of_attention(self) -> bool:
        """Whether it measures the model's attention itself, not an explanation."""
        return "attention" in self.needs

    @property
    def of_model(self) -> bool:
        """Whether it measures the model, not an explanation of it."""
        return not self.needs & {"map", "patch_scores", "attention", "explain"}

    @property
    def of_method(self) -> bool:
        """Whether it explains again: other images, other parameters, or another logit."""
        return "explain" in self.needs

    @property
    def of_masks(self) -> bool:
        """Whether it is undefined for an example without part masks."""
        return bool(self.needs & {"mask", "regions", "coverage"}) or ("parts" in self.needs and not self.of_method)

    def using(self, name: str, **options: Any) -> "Metric":
        """This metric with other options, under another name."""
        return dataclasses.replace(self, name=name, function=functools.partial(self.function, **options))


METRICS: Registry[Metric] = Registry("metric")


def register(metric: Metric) -> Metric:
    """Files a metric under its own name."""
    return METRICS.register(metric.name)(metric)
