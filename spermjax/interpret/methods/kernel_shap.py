"""KernelSHAP over patches: Shapley values from a regression on random coalitions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from spermjax.interpret.chunks import map_in_chunks, steps_at_once
from spermjax.interpret.grid import plane
from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.model import Variables, attention_spec, score


def random_coalitions(key: Array, players: int, pairs: int) -> Bool[Array, "coalitions players"]:
    """Coalitions by the Shapley kernel, each with its complement.

    Sizes are drawn with probability proportional to `1 / (size * (players - size))`,
    members uniformly; pairs cancel what is even in the game (Covert & Lee 2021).
    """
    sizes = np.arange(1, players)
    draw_size, draw_members = jax.random.split(key)
    odds = jnp.asarray(-np.log(sizes * (players - sizes)), jnp.float32)
    size = 1 + jax.random.categorical(draw_size, odds, shape=(pairs,))
    rank = jnp.argsort(jnp.argsort(jax.random.uniform(draw_members, (pairs, players)), axis=1), axis=1)
    members = rank < size[:, None]
    return jnp.concatenate([members, ~members])


def regression(
    coalitions: Bool[Array, "coalitions players"],
    values: Float[Array, "batch coalitions"],
    empty: Float[Array, "batch"],
    everyone: Float[Array, "batch"],
) -> Float[Array, "batch players"]:
    """Least squares under the constraint that values sum to the game's (Lundberg & Lee 2017, theorem 2).

    Args:
        coalitions: drawn by the Shapley kernel, so that each weighs the same.
        values: of each coalition.
        empty: value of the empty coalition.
        everyone: value of the grand coalition.
    """
    member = coalitions.astype(values.dtype)
    moments = member.T @ member / len(member) + 1e-6 * jnp.eye(member.shape[1], dtype=values.dtype)
    slopes = (values - empty[:, None]) @ member / len(member)
    solved = jnp.linalg.solve(moments, jnp.concatenate([slopes.T, jnp.ones((member.shape[1], 1))], axis=1))
    free, ones = solved[:, :-1].T, solved[:, -1]
    excess = (free.sum(axis=1) - (everyone - empty)) / ones.sum()
    return free - excess[:, None] * ones


def kernel_shap(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Array,
    *,
    grid: tuple[int, int] | None = None,
    coalitions: int = 2000,
    baseline: float = 0.5,
    seed: int = 0,
    chunk: int = 64,
) -> Float[Array, "batch rows columns"]:
    """KernelSHAP (Lundberg & Lee 2017) of the target logit, with patches as players.

    The map sums to the rise of the logit over the empty image. All images meet the same coalitions.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        grid: rows and columns of players; None for the model's patches, or eight by eight.
        coalitions: how many are evaluated, in pairs of complements.
        baseline: intensity of absent patches.
        seed: of the coalitions.
        chunk: images in one forward pass (at least the batch): bounds the memory.
    """
    height, width = plane(images)
    if grid is None:
        grid = attention_spec(model, images).grid if hasattr(model, "attention_spec") else (8, 8)
    rows, columns = np.arange(height) * grid[0] // height, np.arange(width) * grid[1] // width
    player = jnp.asarray(rows[:, None] * grid[1] + columns)
    drawn = random_coalitions(jax.random.key(seed), grid[0] * grid[1], -(-coalitions // 2))

    def of_coalition(number: Array) -> Float[Array, "batch"]:
        shown = drawn[number][player][:, :, None]
        return score(model, variables, jnp.where(shown, images, baseline), targets)

    values = map_in_chunks(of_coalition, len(drawn), steps_at_once(len(images), chunk)).T
    empty = score(model, variables, jnp.full_like(images, baseline), targets)
    return regression(drawn, values, empty, score(model, variables, images, targets)).reshape(-1, *grid)


register(Method("kernel_shap", kernel_shap, "Lundberg & Lee 2017", forward=2002, needs=frozenset({"chunk"})))
