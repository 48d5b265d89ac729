"""Whether the model rests on the patches that a map says it rests on.

Patches are taken away, or given, in the order of the map, and the probability of the
target is followed (Samek et al. 2017; Petsiuk, Das & Saenko 2018), with tokens left out
or pixels painted over (`spermjax.interpret.metrics.removal`).
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from spermjax.data.task import Kind
from spermjax.interpret.chunks import map_in_chunks, steps_at_once
from spermjax.interpret.grid import plane
from spermjax.interpret.leaving_out import kept_logits
from spermjax.interpret.metrics.metric import Metric, register
from spermjax.interpret.metrics.removal import PAINTS, Replacement, keeping
from spermjax.interpret.model import Variables, attention_spec, probability

Mode = Literal["deletion", "insertion"]


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
    replacement: Replacement | Float[Array, "batch height width 3"] = "remove",
    parts: Bool[Array, "batch height width parts"] | None = None,
    steps: int | None = None,
    chunk: int = 64,
) -> tuple[Float[np.ndarray, "scores"], Float[Array, "scores batch outputs"]]:
    """Logits while patches are deleted or inserted, the highest score first.

    Args:
        model: for `remove` its `apply` takes a `token_mask`.
        variables: its parameters and state.
        images: intensities in [0, 1].
        patch_scores: a map on patches, or on pixels; ties go by row-major order.
        mode: `deletion` or `insertion`.
        replacement: as for `spermjax.interpret.metrics.removal.keeping`.
        parts: masks, for the replacement `background`.
        steps: scores after the first; None for one patch at a time.
        chunk: images in one forward pass (at least the batch): bounds the memory.

    Returns:
        Share of the patches that is kept at each score, and the logits there. A model
        that averages patch tokens and has none but them has no logits for no patch, so
        with `remove` its curve stops at one patch.
    """
    grid = plane(patch_scores)
    patches = grid[0] * grid[1]
    removes = isinstance(replacement, str) and replacement == "remove"
    least_kept = int(removes and attention_spec(model, images).reads == "mean")
    kept = schedule(patches, mode, least_kept, steps)
    # Deletion keeps the lowest scores, of tied ones the last; insertion keeps the highest.
    order = jnp.argsort(-patch_scores.reshape(len(images), -1), axis=1, stable=True)
    rank = jnp.argsort(order, axis=1)
    priority = patches - 1 - rank if mode == "deletion" else rank

    def of_step(step: Int[Array, ""]) -> Bool[Array, "batch patches"]:
        return priority < jnp.asarray(kept)[step]

    if removes:
        return kept / patches, kept_logits(model, variables, images, of_step, kept, chunk=chunk)
    painted = keeping(model, variables, images, grid, replacement, parts)
    steps_in_chunk = steps_at_once(len(images), chunk)
    return kept / patches, map_in_chunks(lambda step: painted(of_step(step)), len(kept), steps_in_chunk)


def area_under(shares: Float[np.ndarray, "scores"], scores: Float[Array, "scores batch"]) -> Float[Array, "batch"]:
    """Mean height of a curve by the trapezium rule."""
    widths = np.abs(np.diff(shares))
    return jnp.tensordot(widths / widths.sum(), (scores[1:] + scores[:-1]) / 2, axes=1)


def probabilities(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    patch_scores: Float[Array, "batch rows columns"],
    *,
    kind: Kind = "single_label",
    **options: Any,
) -> tuple[Float[np.ndarray, "scores"], Float[Array, "scores batch"]]:
    """The target's probability along a `curve`, whose options these are; NaN where the map isn't finite.

    With the predicted class as target this is the probability of the class that the
    clean image gets.
    """
    shares, logits = curve(model, variables, images, patch_scores, **options)
    heights = jax.vmap(lambda step: probability(step, targets, kind))(logits)
    return shares, jnp.where(jnp.isfinite(patch_scores).all(axis=(1, 2)), heights, jnp.nan)


def deletion(**arguments: Any) -> Float[Array, "batch"]:
    """Area under the target's probability while patches are taken away: low where the map is right."""
    return area_under(*probabilities(mode="deletion", **arguments))


def insertion(**arguments: Any) -> Float[Array, "batch"]:
    """Area under the target's probability while patches are given: high where the map is right."""
    return area_under(*probabilities(mode="insertion", **arguments))


def morf(**arguments: Any) -> Float[Array, "batch"]:
    """Mean fall of the probability, the most relevant patch taken first (Samek et al. 2017, equation 12).

    The mean runs over the scores after the first, one for each patch that was taken.
    """
    _, heights = probabilities(mode="deletion", **arguments)
    return (heights[0] - heights[1:]).mean(axis=0)


def lerf(**arguments: Any) -> Float[Array, "batch"]:
    """`morf` with the least relevant patch taken first: low where the map is right."""
    # What deletion of the least relevant leaves is what insertion has given.
    _, heights = probabilities(mode="insertion", **arguments)
    return (heights[-1] - heights[:-1]).mean(axis=0)


def monotonicity(*, patch_scores: Float[Array, "batch rows columns"], **arguments: Any) -> Float[Array, "batch"]:
    """Share of steps at which a given patch does not lower the probability, the least relevant first.

    Arya et al. (2019) ask whether all steps do, which no model of images passes; that is
    this share being 1.
    """
    # Insertion breaks ties by position, whichever end it starts from.
    _, heights = probabilities(mode="insertion", patch_scores=-patch_scores, **arguments)
    steps = (jnp.diff(heights, axis=0) >= 0).mean(axis=0)
    return jnp.where(jnp.isfinite(heights).all(axis=0), steps, jnp.nan)


NEEDS = frozenset({"model", "variables", "images", "targets", "patch_scores", "kind", "chunk"})


def register_with_paints(metric: Metric) -> None:
    """Files a metric that leaves tokens out, and its variants that paint pixels over."""
    register(metric)
    for suffix, paint in PAINTS.items():
        register(
            Metric(
                name=f"{metric.name}_{suffix}",
                function=lambda function=metric.function, paint=paint, **arguments: function(
                    replacement=paint, **arguments
                ),
                needs=metric.needs | {"parts"} if paint == "background" else metric.needs,
                better=metric.better,
                citation=metric.citation,
                standard=False,
            )
        )


for _metric in (
    Metric("deletion", deletion, NEEDS, "lower", "Petsiuk, Das & Saenko 2018; Jain et al. 2022", of_tokens=True),
    Metric("insertion", insertion, NEEDS, "higher", "Petsiuk, Das & Saenko 2018; Jain et al. 2022", of_tokens=True),
    Metric("morf", morf, NEEDS, "higher", "Samek et al. 2017", standard=False, of_tokens=True),
    Metric("lerf", lerf, NEEDS, "lower", "Samek et al. 2017", standard=False, of_tokens=True),
    Metric("monotonicity", monotonicity, NEEDS, "higher", "Arya et al. 2019", standard=False, of_tokens=True),
):
    register_with_paints(_metric)
