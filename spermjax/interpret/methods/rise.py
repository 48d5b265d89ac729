"""RISE: the mean of random masks, each weighted by what the model still thinks of the masked image."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spermjax.interpret.chunks import steps_at_once, sum_in_chunks
from spermjax.interpret.grid import plane
from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.model import Variables, probability

Mask = Float[Array, "height width"]


def random_mask(key: Array, size: tuple[int, int], cells: int, keep: float) -> Mask:
    """A coarse random grid, enlarged and cut at a random place (Petsiuk et al. 2018, section 3.2).

    Args:
        key: of this mask.
        size: height and width in pixels.
        cells: cells of the grid along each side.
        keep: probability that a cell is kept.
    """
    draw, row, column = jax.random.split(key, 3)
    height, width = -(-size[0] // cells), -(-size[1] // cells)
    coarse = jax.random.bernoulli(draw, keep, (cells, cells)).astype(jnp.float32)
    enlarged = jax.image.resize(coarse, ((cells + 1) * height, (cells + 1) * width), "bilinear")
    corner = jax.random.randint(row, (), 0, height), jax.random.randint(column, (), 0, width)
    return jax.lax.dynamic_slice(enlarged, corner, size)


def weighted_masks(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    mask: Callable[[Int[Array, ""]], Mask],
    masks: int,
    *,
    keep: float,
    baseline: float = 0.5,
    chunk: int = 64,
) -> Float[Array, "batch height width"]:
    """Sum of masks times the probability under them, over their number times `keep`; `mask` gives them by number."""

    def of_mask(number: Int[Array, ""]) -> Float[Array, "batch height width"]:
        shown = mask(number)
        masked = baseline + (images - baseline) * shown[:, :, None]
        return probability(model.apply(variables, masked), targets)[:, None, None] * shown

    return sum_in_chunks(of_mask, masks, steps_at_once(len(images), chunk)) / (masks * keep)


def rise(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    masks: int = 1000,
    cells: int = 7,
    keep: float = 0.5,
    baseline: float = 0.5,
    seed: int = 0,
    chunk: int = 64,
) -> Float[Array, "batch height width"]:
    """RISE (Petsiuk et al. 2018, eq. 6), with painted pixels; all images meet the same masks.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        masks: how many.
        cells: cells of a mask's grid along each side.
        keep: probability that a cell is kept.
        baseline: intensity of what is masked entirely.
        seed: of the masks.
        chunk: images in one forward pass (at least the batch): bounds the memory.
    """
    size = plane(images)

    def mask(number: Int[Array, ""]) -> Mask:
        return random_mask(jax.random.fold_in(jax.random.key(seed), number), size, cells, keep)

    return weighted_masks(model, variables, images, targets, mask, masks, keep=keep, baseline=baseline, chunk=chunk)


register(Method("rise", rise, "Petsiuk et al. 2018", forward=1000, needs=frozenset({"chunk"})))
