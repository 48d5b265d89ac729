"""Explaining and measuring any number of images from the host, in bounded memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from spermjax.data.batch import Batch, PackedBatch, unpack
from spermjax.data.task import Kind, Task
from spermjax.errors import ConfigError
from spermjax.interpret.methods import Method
from spermjax.interpret.metrics import Metric
from spermjax.interpret.model import Variables
from spermjax.interpret.suite import Measurements, deciding_regions, measure, resolve_methods, resolve_metrics
from spermjax.parts import PARTS

Images = Float[np.ndarray, "examples height width 3"] | Batch | PackedBatch

_measure = jax.jit(measure, static_argnums=0, static_argnames=("methods", "metrics", "kind", "chunk"))
_predicted = jax.jit(lambda model, variables, images: model.apply(variables, images).argmax(axis=1), static_argnums=0)


def as_batch(
    images: Images, parts: Bool[np.ndarray, "examples height width parts"] | None = None
) -> Batch | PackedBatch:
    """Images of any source as one batch on the host.

    Args:
        images: float in [0, 1] or uint8 `[examples, height, width, 3]`, or a batch.
        parts: part masks in the order of `spermjax.parts.PARTS`, or none.

    Raises:
        ConfigError: shapes or intensities are not these.
    """
    if isinstance(images, Batch | PackedBatch):
        return images
    pixels = np.asarray(images)
    if pixels.ndim != 4 or pixels.shape[-1] != 3:
        raise ConfigError(f"Images have shape {pixels.shape}; expected [examples, height, width, 3].")
    pixels = pixels.astype(np.float32) / (255.0 if pixels.dtype == np.uint8 else 1.0)
    if pixels.size and not (pixels.min() >= 0.0 and pixels.max() <= 1.0):
        raise ConfigError(
            f"Intensities go from {pixels.min():.3g} to {pixels.max():.3g}; expected uint8, or floats in [0, 1] "
            "before the model's own normalisation."
        )
    shape = (*pixels.shape[:3], len(PARTS))
    if parts is not None and np.shape(parts) != shape:
        raise ConfigError(
            f"Part masks have shape {np.shape(parts)}; expected {shape}, one channel per part of {PARTS}."
        )
    count = len(pixels)
    return Batch(
        image=pixels,  # pyright: ignore[reportArgumentType]
        parts=np.zeros(shape, bool) if parts is None else np.asarray(parts, bool),  # pyright: ignore[reportArgumentType]
        has_parts=np.full(count, parts is not None),  # pyright: ignore[reportArgumentType]
        label=np.full(count, -1, np.int32),  # pyright: ignore[reportArgumentType]
        weight=np.ones(count, np.float32),  # pyright: ignore[reportArgumentType]
        index=np.arange(count, dtype=np.int32),  # pyright: ignore[reportArgumentType]
    )


def evaluate(
    model: Any,
    variables: Variables,
    images: Images,
    targets: int | Int[np.ndarray, "examples"] | None = None,
    *,
    parts: Bool[np.ndarray, "examples height width parts"] | None = None,
    methods: Sequence[str | Method] = ("raw_attention", "rollout", "grad_cam", "chefer2021b"),
    metrics: Sequence[str | Metric] | None = None,
    task: Task | None = None,
    chunk: int = 16,
    on_chunk: Callable[[int], None] | None = None,
) -> Measurements:
    """Explains images and measures the explanations.

    Args:
        model: as for `measure`.
        variables: its parameters and state.
        images: any number of them (see `as_batch`).
        targets: the logit to explain, one for all or one per image; None explains the
            predicted class of a single-label task.
        parts: part masks, where `images` is not a batch.
        methods: names or methods.
        metrics: names or metrics; None for all standard ones.
        task: says which parts decide and how probabilities are read; None takes a
            single-label task without known deciding parts.
        chunk: images that are explained at once: bounds the memory.
        on_chunk: called with the number of images done, after each chunk.

    Returns:
        NumPy arrays with one entry per image, in order.

    Raises:
        ConfigError: unknown names, misshapen input, targets out of range, or none for
            a multi-attribute task.
    """
    batch = as_batch(images, parts)
    count = len(batch.image)
    if not count:
        raise ConfigError("There are no images to explain.")
    kind: Kind = "single_label" if task is None else task.kind
    options = {
        "methods": resolve_methods(methods),
        "metrics": resolve_metrics(metrics),
        "deciding": None if task is None else deciding_regions(task),
        "kind": kind,
        "chunk": min(chunk, count),
    }
    wanted = None if targets is None else _targets(targets, count, _outputs(model, variables, batch))
    if wanted is None and kind != "single_label":
        raise ConfigError("A multi-attribute task has no one predicted class: name the attribute's index as targets.")
    results = []
    for rows in _chunks(count, chunk):
        examples = _examples(batch, rows)
        chosen = _predicted(model, variables, examples.image) if wanted is None else wanted[rows]
        results.append(jax.device_get(_measure(model, variables, examples, chosen, **options)))
        if on_chunk is not None:
            on_chunk(min(len(results) * chunk, count))
    return jax.tree.map(lambda *pieces: np.concatenate(pieces)[:count], *results)


def explain(
    model: Any,
    variables: Variables,
    images: Images,
    targets: int | Int[np.ndarray, "examples"] | None = None,
    *,
    parts: Bool[np.ndarray, "examples height width parts"] | None = None,
    methods: Sequence[str | Method] = ("raw_attention", "rollout", "grad_cam", "chefer2021b"),
    chunk: int = 16,
    on_chunk: Callable[[int], None] | None = None,
) -> dict[str, Float[np.ndarray, "examples height width"]]:
    """Maps of images by method, unscaled; arguments as in `evaluate`.

    Without `targets` the largest logit is explained.
    """
    measured = evaluate(
        model, variables, images, targets, parts=parts, methods=methods, metrics=(), chunk=chunk, on_chunk=on_chunk
    )
    return {method: np.asarray(maps) for method, maps in measured.maps.items()}


def _chunks(count: int, size: int) -> Iterator[Int[np.ndarray, "chunk"]]:
    """Rows of each chunk, all of one length; the last is padded with the last row."""
    size = min(size, count)
    for start in range(0, count, size):
        yield np.minimum(np.arange(start, start + size), count - 1)


def _examples(batch: Batch | PackedBatch, rows: Int[np.ndarray, "chunk"]) -> Batch:
    taken = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], batch)
    return unpack(taken) if isinstance(taken, PackedBatch) else taken


def _outputs(model: Any, variables: Variables, batch: Batch | PackedBatch) -> int:
    image = jax.ShapeDtypeStruct((1, *batch.image.shape[1:]), np.float32)
    return jax.eval_shape(lambda x: model.apply(variables, x), image).shape[1]


def _targets(targets: int | Int[np.ndarray, "examples"], count: int, outputs: int) -> Int[np.ndarray, "examples"]:
    wanted = np.asarray(targets, np.int32)
    if wanted.shape not in ((), (count,)):
        raise ConfigError(f"Targets have shape {wanted.shape}; expected one number, or one for each of {count} images.")
    if wanted.min() < 0 or wanted.max() >= outputs:
        raise ConfigError(
            f"Targets go from {wanted.min()} to {wanted.max()}; the model has outputs 0 to {outputs - 1}."
        )
    return np.broadcast_to(wanted, (count,))
