"""Occlusion: how much the target logit falls when a window is painted over."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from spermjax.errors import ConfigError
from spermjax.interpret.chunks import map_in_chunks, steps_at_once
from spermjax.interpret.grid import plane
from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.model import Variables, score


def windows(size: tuple[int, int], window_px: int, stride_px: int) -> Bool[np.ndarray, "windows height width"]:
    """Square windows from the upper left, row by row; the last of a row or column ends at the border.

    Raises:
        ConfigError: the window is larger than the image, or the stride leaves pixels out.
    """
    if not 1 <= stride_px <= window_px <= min(size):
        raise ConfigError(
            f"Occlusion with a window of {window_px} px and a stride of {stride_px} px on an image of "
            f"{size[0]} x {size[1]} px; expected 1 <= stride <= window <= {min(size)}."
        )

    def along(length: int) -> Bool[np.ndarray, "places length"]:
        count = -(-(length - window_px) // stride_px) + 1
        starts = np.minimum(np.arange(count) * stride_px, length - window_px)
        place = np.arange(length)
        return (place >= starts[:, None]) & (place < starts[:, None] + window_px)

    rows, columns = along(size[0]), along(size[1])
    return (rows[:, None, :, None] & columns[None, :, None, :]).reshape(-1, *size)


def occlusion(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    window_px: int | None = None,
    stride_px: int | None = None,
    baseline: float = 0.5,
    chunk: int = 64,
) -> Float[Array, "batch height width"]:
    """Drop of the target logit (Zeiler & Fergus 2014, section 4.2), mean over the windows that cover a pixel.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        window_px: side of the window; None for an eighth of the shorter side of the image.
        stride_px: step between windows; None for the window's side.
        baseline: intensity inside the window.
        chunk: images in one forward pass (at least the batch): bounds the memory.

    Raises:
        ConfigError: the window is larger than the image, or the stride leaves pixels out.
    """
    size = plane(images)
    window_px = window_px or max(1, min(size) // 8)
    hidden = windows(size, window_px, stride_px or window_px)
    covered = jnp.asarray(hidden)

    def occluded(window: Int[Array, ""]) -> Float[Array, "batch"]:
        return score(model, variables, jnp.where(covered[window][:, :, None], baseline, images), targets)

    scores = map_in_chunks(occluded, len(hidden), steps_at_once(len(images), chunk))
    drops = score(model, variables, images, targets) - scores
    return jnp.einsum("nb,nhw->bhw", drops, covered.astype(drops.dtype)) / hidden.sum(axis=0)


register(Method("occlusion", occlusion, "Zeiler & Fergus 2014", forward=65, needs=frozenset({"chunk"})))
