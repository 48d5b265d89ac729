"""Class activation maps whose weights come from perturbed forward passes: Score-CAM and Ablation-CAM."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from spermjax.interpret.capture import capture, in_order
from spermjax.interpret.chunks import map_in_chunks, steps_at_once
from spermjax.interpret.grid import plane
from spermjax.interpret.methods.cam import check_reaches_logits, feature_name, on_grid
from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.model import Variables, score, select
from spermjax.interpret.program import trace_model
from spermjax.models.attention.contract import FEATURES


def between_corners(places: int, pixels: int) -> Float[np.ndarray, "pixels places"]:
    """Linear interpolation from places to pixels whose first and last coincide."""
    where = np.linspace(0.0, places - 1.0, pixels)
    return np.maximum(0.0, 1.0 - np.abs(where[:, None] - np.arange(places))).astype(np.float32)


def score_cam(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    feature: str | None = None,
    layer: int = -1,
    positive: bool = True,
    baseline: float = 0.5,
    chunk: int = 64,
) -> Float[Array, "batch rows columns"]:
    """Score-CAM (Wang et al. 2020, eqs. 5 and 6).

    Each channel, enlarged to the image and stretched to [0, 1], masks the image; the
    softmax over channels of the target's logits is what channels are weighted by.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        feature: name of the captured tokens or map (see `cam.class_activation_map`).
        layer: index of the block; negative counts from the last.
        positive: whether negative values are set to zero, as published.
        baseline: intensity of what is masked entirely.
        chunk: images in one forward pass (at least the batch): bounds the memory.
    """
    name = feature_name(model, feature)
    found = in_order(capture(model, variables, images, (FEATURES,)).collections.get(FEATURES, {}), name)
    check_reaches_logits(model, images, name, layer, len(found))
    maps = on_grid(model, images, found[layer])
    height, width = plane(images)
    rows, columns = between_corners(maps.shape[1], height), between_corners(maps.shape[2], width)

    def of_channel(channel: Int[Array, ""]) -> Float[Array, "batch"]:
        enlarged = jnp.einsum("hr,brc,wc->bhw", rows, maps[..., channel], columns)
        low, high = (f(enlarged, axis=(1, 2), keepdims=True) for f in (jnp.min, jnp.max))
        mask = (enlarged - low) / (high - low + 1e-8)
        return score(model, variables, baseline + (images - baseline) * mask[..., None], targets)

    scores = map_in_chunks(of_channel, maps.shape[-1], steps_at_once(len(images), chunk))
    cam = jnp.einsum("brcd,db->brc", maps, jax.nn.softmax(scores, axis=0))
    return jax.nn.relu(cam) if positive else cam


def ablation_cam(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    feature: str | None = None,
    layer: int = -1,
    positive: bool = True,
    fill: float = 0.0,
    chunk: int = 64,
) -> Float[Array, "batch rows columns"]:
    """Ablation-CAM (Desai & Ramaswamy 2020, eq. 6): channels weighted by the relative drop without them.

    Only what comes after the features is computed again.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        feature: name of the captured tokens or map (see `cam.class_activation_map`).
        layer: index of the block; negative counts from the last.
        positive: whether negative values are set to zero, as published.
        fill: what an ablated channel holds, at every place.
        chunk: images in one forward pass (at least the batch): bounds the memory.
    """
    program, values, slots = trace_model(model, variables, images, (FEATURES,))
    name = feature_name(model, feature)
    found = slots.layers(FEATURES, name)
    check_reaches_logits(model, images, name, layer, len(found))
    slot = found[layer]
    features, whole = values[slot], select(values[slots.logits], targets)

    def without(channel: Int[Array, ""]) -> Float[Array, "batch"]:
        [logits] = program.replay(values, {slot: features.at[..., channel].set(fill)}, [slots.logits])
        return select(logits, targets)

    scores = map_in_chunks(without, features.shape[-1], steps_at_once(len(images), chunk))
    cam = jnp.einsum("brcd,db->brc", on_grid(model, images, features), (whole - scores) / whole)
    return jax.nn.relu(cam) if positive else cam


register(
    Method("score_cam", score_cam, "Wang et al. 2020", forward=129, needs=frozenset({"features", "chunk"})),
)
register(
    Method("ablation_cam", ablation_cam, "Desai & Ramaswamy 2020", forward=129, needs=frozenset({"features", "chunk"})),
)
