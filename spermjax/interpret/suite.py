"""Explanations of a batch and their metrics, as one pure function."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from spermjax.data.batch import Batch
from spermjax.data.task import Kind, Task
from spermjax.errors import ConfigError
from spermjax.interpret.capture import capture
from spermjax.interpret.grid import coverage, distributions, patch_mean, plane, upsample
from spermjax.interpret.methods import METHODS, Method
from spermjax.interpret.metrics import METRICS, Metric
from spermjax.interpret.metrics.robustness import Explain
from spermjax.interpret.model import Variables, attention_spec, has_part_queries, has_spatial_attention
from spermjax.models.attention.contract import ATTENTION
from spermjax.parts import REGIONS, region

MOST_PATCHES = 8
"""Along a side of the image, for the faithfulness of a model that has no patches of its own."""


@flax.struct.dataclass
class Measurements:
    """Explanations and what was measured on them.

    Attributes:
        maps: `[batch, height, width]` by method.
        values: `[batch]` by `method/metric`, `method/metric/region`, and the same under
            `attention` and `model` for metrics of these; NaN where undefined.
    """

    maps: Mapping[str, Float[Array | np.ndarray, "batch height width"]]
    values: Mapping[str, Float[Array | np.ndarray, "batch"]]


def resolve_methods(methods: Sequence[str | Method]) -> tuple[Method, ...]:
    """Methods by their names; a `Method` (such as `METHODS["rollout"].using(...)`) stands for itself."""
    return tuple(METHODS[method] if isinstance(method, str) else method for method in methods)


def resolve_metrics(metrics: Sequence[str | Metric] | None) -> tuple[Metric, ...]:
    """Metrics by their names; None for all standard ones."""
    if metrics is None:
        return tuple(metric for metric in METRICS.values() if metric.standard)
    return tuple(METRICS[metric] if isinstance(metric, str) else metric for metric in metrics)


def applicable(
    model: Any,
    methods: Sequence[str | Method],
    metrics: Sequence[str | Metric] | None = None,
    *,
    has_parts: bool = True,
) -> tuple[tuple[Method, ...], tuple[Metric, ...]]:
    """Those methods and metrics that a model and its data can serve.

    Args:
        model: as for `measure`.
        methods: names or methods.
        metrics: names or metrics; None for all standard ones.
        has_parts: whether there are part masks.
    """
    shows = hasattr(model, "attention_spec")
    lacks = set() if shows else {"attention"}
    if not (shows or isinstance(model, nn.Module)):
        lacks.add("features")
    if shows and model.attention_spec((0, 0)).reads == "mean":
        lacks.add("class_token")
    if not has_part_queries(model):
        lacks.add("part_queries")
    if not has_spatial_attention(model):
        lacks.add("spatial_attention")
    return (
        tuple(
            method
            for method in resolve_methods(methods)
            if not method.needs & lacks and (has_parts or "parts" not in method.needs)
        ),
        tuple(
            metric
            for metric in resolve_metrics(metrics)
            if (shows or not (metric.of_attention or metric.of_tokens)) and (has_parts or not metric.of_masks)
        ),
    )


def deciding_regions(task: Task) -> Bool[np.ndarray, "outputs regions"]:
    """Which of `spermjax.parts.REGIONS` decide each output; none where that isn't known.

    Raises:
        ConfigError: the task names a region or an output that does not exist.
    """
    unknown = set(task.deciding_parts) - set(task.names)
    unknown |= {part for parts in task.deciding_parts.values() for part in parts} - set(REGIONS)
    if unknown:
        raise ConfigError(
            f"The task's deciding parts name {', '.join(sorted(map(repr, unknown)))}. "
            f"Its outputs are {', '.join(task.names)}; regions are {', '.join(REGIONS)}."
        )
    return np.array([[name in task.deciding_parts.get(output, ()) for name in REGIONS] for output in task.names])


def measure(
    model: Any,
    variables: Variables,
    batch: Batch,
    targets: Int[Array, "batch"],
    *,
    methods: Sequence[str | Method],
    metrics: Sequence[str | Metric] | None = None,
    deciding: Bool[Array | np.ndarray, "outputs regions"] | None = None,
    kind: Kind = "single_label",
    chunk: int | None = None,
) -> Measurements:
    """Explains a batch and measures the explanations; pure, for use under `jit`.

    Args:
        model: fills the contract of `spermjax.models.attention.contract`, or has
            `apply(variables, images)` where methods and metrics ask no more.
        variables: its parameters and state.
        batch: images, and masks where there are any.
        targets: index of the logit to explain, per example; the attribute's index for
            a multi-attribute task.
        methods: names or methods.
        metrics: names or metrics; None for all standard ones.
        deciding: which regions decide each output (see `deciding_regions`): what
            localisation is measured against. None makes it NaN.
        kind: how probabilities are read from logits.
        chunk: images in one forward pass; None for the batch, which is also the least.

    Returns:
        Maps and values. Whatever is measured against masks is NaN for an example that
        has none, that does not show the deciding parts, or whose target has no known
        ones.

    Raises:
        ConfigError: an unknown name, or a method that asks for more than the model shows.
    """
    chosen = resolve_metrics(metrics)
    methods = resolve_methods(methods)
    masked = batch.parts & batch.has_parts[:, None, None, None]
    regions = jnp.stack([region(masked, name) for name in REGIONS], axis=-1)
    regions &= batch.has_parts[:, None, None, None]
    unknown = jnp.zeros((len(targets), len(REGIONS)), bool)
    wanted = unknown if deciding is None else jnp.asarray(deciding)[targets]
    size = plane(batch.image)
    grid = attention_spec(model, batch.image).grid if hasattr(model, "attention_spec") else _grid(size)

    given: dict[str, Any] = {
        "model": model,
        "variables": variables,
        "images": batch.image,
        "targets": targets,
        "kind": kind,
        "chunk": chunk or len(batch.image),
        "parts": masked,
        "index": batch.index,
        "regions": regions,
        "mask": (regions & wanted[:, None, None, :]).any(axis=-1),
    }
    values: dict[str, Float[Array, "batch"]] = {}
    for metric in chosen:
        if metric.of_model:
            values |= _values(f"model/{metric.name}", _call(metric, given))
    if any(metric.of_attention for metric in chosen):
        given["spec"] = attention_spec(model, batch.image)
        weights = capture(model, variables, batch.image, (ATTENTION,)).attention
        given["attention"] = distributions(weights, given["spec"])
        given["coverage"] = coverage(regions, grid)
        for metric in chosen:
            if metric.of_attention:
                values |= _values(f"attention/{metric.name}", _call(metric, given))

    maps: dict[str, Float[Array, "batch height width"]] = {}
    patch_scores: dict[str, Float[Array, "batch rows columns"]] = {}
    for method in methods:
        options = {name: given[name] for name in ("parts", "index", "chunk") if name in method.needs}
        native = method.native(model, variables, batch.image, targets, **options)
        if "parts" in method.needs:
            native = jnp.where(batch.has_parts[:, None, None], native, jnp.nan)
        maps[method.name] = upsample(native, size)
        patch_scores[method.name] = native if plane(native) == grid else patch_mean(maps[method.name], grid)

    of_maps = [metric for metric in chosen if not (metric.of_attention or metric.of_model or metric.of_method)]

    def of_one_map(map_and_scores: tuple[Array, Array]) -> dict[str, Result]:
        map, scores = map_and_scores
        arguments = given | {"map": map, "patch_scores": scores}
        return {metric.name: _call(metric, arguments) for metric in of_maps}

    # One loop over the methods, so that each metric is compiled once.
    if methods and of_maps:
        stacked = jnp.stack(list(maps.values())), jnp.stack(list(patch_scores.values()))
        for name, results in jax.lax.map(of_one_map, stacked).items():
            for place, method in enumerate(maps):
                values |= _values(f"{method}/{name}", jax.tree.map(lambda leaf, place=place: leaf[place], results))
    for method in methods:
        arguments = given | {"explain": _explain_again(method, model, given)}
        for metric in chosen:
            if metric.of_method:
                values |= _values(f"{method.name}/{metric.name}", _call(metric, arguments))
    return Measurements(maps, values)


def _grid(size: tuple[int, int]) -> tuple[int, int]:
    """The finest grid of at most `MOST_PATCHES` a side that divides an image."""
    rows, columns = (max(n for n in range(1, MOST_PATCHES + 1) if side % n == 0) for side in size)
    return rows, columns


Result = Float[Array, "batch *regions"] | Mapping[str, Float[Array, "batch"]]


def _explain_again(method: Method, model: Any, given: dict[str, Any]) -> Explain:
    """The method on other images, parameters or targets of the same examples."""

    def explain(
        variables: Variables,
        images: Float[Array, "batch height width 3"],
        targets: Int[Array, "batch"],
        parts: Bool[Array, "batch height width parts"],
    ) -> Float[Array, "batch height width"]:
        available = {"parts": parts, "index": given["index"], "chunk": given["chunk"]}
        options = {name: value for name, value in available.items() if name in method.needs}
        return method.explain(model, variables, images, targets, **options)

    return explain


def _call(metric: Metric, given: dict[str, Any]) -> Result:
    return metric.function(**{name: given[name] for name in sorted(metric.needs)})


def _values(name: str, result: Result) -> dict[str, Float[Array, "batch"]]:
    if isinstance(result, Mapping):
        return {f"{name}/{part}": value for part, value in result.items()}
    if result.ndim == 1:
        return {name: result}
    return {f"{name}/{part}": result[:, place] for place, part in enumerate(REGIONS)}
