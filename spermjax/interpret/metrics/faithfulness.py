"""Whether the model rests on the patches that a map says it rests on.

Patches are taken away, or given, in the order of the map, and the probability of the
target is followed (Petsiuk, Das & Saenko 2018). By default a patch's token is left out
(Jain et al. 2022): painting pixels over makes images that the model has never seen,
and the score then falls for patches that do not matter.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from spermjax.data.task import Kind
from spermjax.interpret.chunks import map_in_chunks, steps_at_once
from spermjax.interpret.grid import paint_patches, plane
from spermjax.interpret.metrics.metric import Metric, register
from spermjax.interpret.model import Variables, attention_spec, probability

Mode = Literal["deletion", "insertion"]
Paint = Literal["mean", "blur"] | float
Replacement = Literal["remove"] | Paint

BLUR_SIZE_PX = 11
BLUR_SIGMA_PX = 5.0


def blur(images: Float[Array, "batch height width 3"]) -> Float[Array, "batch height width 3"]:
    """A Gaussian blur of 11 px and sigma 5 px, border pixels repeated outwards."""

    def matrix(length: int) -> Float[np.ndarray, "length length"]:
        reach = np.arange(BLUR_SIZE_PX) - BLUR_SIZE_PX // 2
        kernel = np.exp(-(reach**2) / (2 * BLUR_SIGMA_PX**2))
        out = np.zeros((length, length), np.float32)
        sources = np.clip(np.arange(length)[:, None] + reach, 0, length - 1)
        np.add.at(out, (np.arange(length)[:, None], sources), kernel / kernel.sum())
        return out

    return jnp.einsum("yh,xw,bhwc->byxc", matrix(images.shape[1]), matrix(images.shape[2]), images)


def fill(images: Float[Array, "batch height width 3"], paint: Paint) -> Float[Array, "batch height width 3"]:
    """What stands where a patch is painted over: each image's mean colour, its blur, or one intensity."""
    if paint == "mean":
        return jnp.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)
    return blur(images) if paint == "blur" else jnp.full_like(images, paint)


def schedule(patches: int, mode: Mode, least_kept: int, steps: int | None) -> Int[np.ndarray, "scores"]:
    """How many patches are kept at each score of a curve.

    Args:
        patches: number of patches.
        mode: `deletion` goes from all patches to `least_kept`, `insertion` back.
        least_kept: patches without which the model has no logits.
        steps: scores after the first; None for one patch at a time.
    """
    full = patches - least_kept
    kept = least_kept + np.round(np.linspace(0, full, min(steps or full, full) + 1)).astype(np.int32)
    return kept[::-1] if mode == "deletion" else kept


def curve(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    patch_scores: Float[Array, "batch rows columns"],
    *,
    mode: Mode,
    replacement: Replacement = "remove",
    steps: int | None = None,
    chunk: int = 64,
) -> tuple[Float[np.ndarray, "scores"], Float[Array, "scores batch outputs"]]:
    """Logits while patches are deleted or inserted, the highest score first.

    Args:
        model: for `remove` its `apply` takes a `token_mask`.
        variables: its parameters and state.
        images: intensities in [0, 1].
        patch_scores: a map on patches; ties go by row-major order.
        mode: `deletion` or `insertion`.
        replacement: `remove` leaves tokens out, the others paint pixels (see `fill`).
        steps: scores after the first; None for one patch at a time.
        chunk: images in one forward pass (at least the batch): bounds the memory.

    Returns:
        Share of the patches that is kept at each score, and the logits there. A model
        that averages patch tokens and has none but them has no logits for no patch, so
        with `remove` its curve stops at one patch.
    """
    grid = plane(patch_scores)
    patches = grid[0] * grid[1]
    least_kept = 0
    if replacement == "remove":
        spec = attention_spec(model, images)
        least_kept = int(spec.reads == "mean")
    kept = schedule(patches, mode, least_kept, steps)
    ascending = mode == "deletion"
    # Deletion keeps the lowest scores, of tied ones the last; insertion keeps the highest.
    order = jnp.argsort(-patch_scores.reshape(len(images), -1), axis=1, stable=True)
    rank = jnp.argsort(order, axis=1)
    priority = patches - 1 - rank if ascending else rank
    filled = images if replacement == "remove" else fill(images, replacement)

    def logits(step: Int[Array, ""]) -> Float[Array, "batch outputs"]:
        keep: Bool[Array, "batch patches"] = priority < jnp.asarray(kept)[step]
        if replacement == "remove":
            return model.apply(variables, images, token_mask=keep)
        shown = paint_patches(keep, grid, plane(images))
        return model.apply(variables, jnp.where(shown[..., None], images, filled))

    return kept / patches, map_in_chunks(logits, len(kept), steps_at_once(len(images), chunk))


def area_under(shares: Float[np.ndarray, "scores"], scores: Float[Array, "scores batch"]) -> Float[Array, "batch"]:
    """Mean height of a curve by the trapezium rule."""
    widths = np.abs(np.diff(shares))
    return jnp.tensordot(widths / widths.sum(), (scores[1:] + scores[:-1]) / 2, axes=1)


def faithfulness(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    patch_scores: Float[Array, "batch rows columns"],
    *,
    mode: Mode,
    kind: Kind = "single_label",
    replacement: Replacement = "remove",
    steps: int | None = None,
    chunk: int = 64,
) -> Float[Array, "batch"]:
    """Area under the deletion or insertion curve of the target's probability, from 0 to 1.

    With the predicted class as target this is the probability of the class that the
    clean image gets. Arguments as in `curve` and `spermjax.interpret.model.probability`.
    NaN where the map is not finite.
    """
    shares, logits = curve(
        model, variables, images, patch_scores, mode=mode, replacement=replacement, steps=steps, chunk=chunk
    )
    area = area_under(shares, jax.vmap(lambda step: probability(step, targets, kind))(logits))
    return jnp.where(jnp.isfinite(patch_scores).all(axis=(1, 2)), area, jnp.nan)


_NEEDS = frozenset({"model", "variables", "images", "targets", "patch_scores", "kind", "chunk"})


def deletion(**arguments: Any) -> Float[Array, "batch"]:
    """`faithfulness` of taking patches away: low where the map is right."""
    return faithfulness(mode="deletion", **arguments)


def insertion(**arguments: Any) -> Float[Array, "batch"]:
    """`faithfulness` of giving patches: high where the map is right."""
    return faithfulness(mode="insertion", **arguments)


for _metric in (
    Metric("deletion", deletion, _NEEDS, "lower", "Petsiuk, Das & Saenko 2018; Jain et al. 2022", of_tokens=True),
    Metric("insertion", insertion, _NEEDS, "higher", "Petsiuk, Das & Saenko 2018; Jain et al. 2022", of_tokens=True),
):
    register(_metric)
    for _suffix, _replacement in (("mean", "mean"), ("blur", "blur"), ("zero", 0.0)):
        register(
            Metric(
                name=f"{_metric.name}_{_suffix}",
                function=lambda _function=_metric.function, _replacement=_replacement, **arguments: _function(
                    replacement=_replacement, **arguments
                ),
                needs=_NEEDS,
                better=_metric.better,
                citation="Petsiuk, Das & Saenko 2018",
                standard=False,
            )
        )
