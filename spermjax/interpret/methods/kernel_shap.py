"""KernelSHAP over patches: Shapley values from a regression on random coalitions."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from spermjax.errors import ConfigError
from spermjax.interpret.chunks import map_in_chunks, steps_at_once
from spermjax.interpret.grid import plane
from spermjax.interpret.leaving_out import kept_logits
from spermjax.interpret.methods.method import METHODS, Method, register
from spermjax.interpret.model import Variables, attention_spec, score, select


def coalition_sizes(players: int, pairs: int) -> Int[np.ndarray, "pairs"]:
    """Sizes in increasing order, as often as the Shapley kernel has them.

    A size is as likely as `1 / (size * (players - size))`. The quantiles of that
    distribution are taken, not draws from it, which leaves the sizes without variance
    and makes them known when the model is compiled.
    """
    sizes = np.arange(1, players)
    cumulative = np.cumsum(1.0 / (sizes * (players - sizes)))
    return sizes[np.searchsorted(cumulative / cumulative[-1], (np.arange(pairs) + 0.5) / pairs)]


def random_coalitions(key: Array, sizes: Int[np.ndarray, "pairs"], players: int) -> Bool[Array, "2*pairs players"]:
    """Coalitions of these sizes, members uniform, and then the complement of each.

    Pairs cancel what is even in the game (Covert & Lee 2021).
    """
    rank = jnp.argsort(jnp.argsort(jax.random.uniform(key, (len(sizes), players)), axis=1), axis=1)
    members = rank < jnp.asarray(sizes)[:, None]
    return jnp.concatenate([members, ~members])


def solve(matrix: Float[Array, "n n"], right: Float[Array, "n m"]) -> Float[Array, "n m"]:
    """Gauss-Jordan elimination of a positive definite matrix, which needs no pivots (Higham 2002, section 14.4).

    LAPACK's solvers wait within the threads that XLA runs them on (see
    `spermjax.interpret.methods.cam.leading_component`).
    """

    def eliminate(row: Array, rows: Array) -> Array:
        pivot = rows[row] / rows[row, row]
        return (rows - rows[:, row, None] * pivot).at[row].set(pivot)

    rows = jnp.concatenate([matrix, right], axis=1)
    return jax.lax.fori_loop(0, len(matrix), eliminate, rows)[:, len(matrix) :]


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
    solved = solve(moments, jnp.concatenate([slopes.T, jnp.ones((member.shape[1], 1), values.dtype)], axis=1))
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
    baseline: float | Literal["remove"] = 0.5,
    seed: int = 0,
    chunk: int = 64,
) -> Float[Array, "batch rows columns"]:
    """KernelSHAP (Lundberg & Lee 2017) of the target logit, with patches as players.

    The map sums to the rise of the logit over the empty image. All images meet the same coalitions.
    With `remove`, registered as `token_kernel_shap`, absent patches' tokens are left out
    of the sequence and cost nothing.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        grid: rows and columns of players; None for the model's patches, or eight by eight.
            `remove` takes the model's patches alone.
        coalitions: how many are evaluated, in pairs of complements.
        baseline: intensity of absent patches, or `remove`.
        seed: of the coalitions.
        chunk: images in one forward pass (at least the batch): bounds the memory.

    Raises:
        ConfigError: `remove` with another grid than the model's, or of a model that has no
            logits without patches.
    """
    of_model = attention_spec(model, images).grid if hasattr(model, "attention_spec") else None
    grid = grid or of_model or (8, 8)
    players = grid[0] * grid[1]
    sizes = coalition_sizes(players, -(-coalitions // 2))
    drawn = random_coalitions(jax.random.key(seed), sizes, players)
    if baseline == "remove":
        _check_can_be_empty(model, images, grid)

        def kept(number: Int[Array, ""]) -> Bool[Array, "batch patches"]:
            return jnp.broadcast_to(drawn[number], (len(images), players))

        logits = kept_logits(model, variables, images, kept, np.concatenate([sizes, players - sizes]), chunk=chunk)
        values = jax.vmap(select, in_axes=(0, None))(logits, targets).T
        nothing = jnp.zeros((len(images), players), bool)
        empty = select(model.apply(variables, images, token_mask=nothing), targets)
    else:
        player = _player_of_pixel(plane(images), grid)

        def of_coalition(number: Int[Array, ""]) -> Float[Array, "batch"]:
            shown = drawn[number][player][:, :, None]
            return score(model, variables, jnp.where(shown, images, baseline), targets)

        values = map_in_chunks(of_coalition, len(drawn), steps_at_once(len(images), chunk)).T
        empty = score(model, variables, jnp.full_like(images, baseline), targets)
    return regression(drawn, values, empty, score(model, variables, images, targets)).reshape(-1, *grid)


def _player_of_pixel(size: tuple[int, int], grid: tuple[int, int]) -> Int[Array, "height width"]:
    rows, columns = (np.arange(length) * count // length for length, count in zip(size, grid, strict=True))
    return jnp.asarray(rows[:, None] * grid[1] + columns)


def _check_can_be_empty(model: Any, images: Float[Array, "batch height width 3"], grid: tuple[int, int]) -> None:
    spec = attention_spec(model, images)
    if grid != spec.grid:
        raise ConfigError(
            f"Patches of a grid of {grid[0]} x {grid[1]} can't be left out of a model with {spec.grid[0]} x "
            f"{spec.grid[1]}; leave `grid` out, or paint with a number as baseline."
        )
    if spec.reads == "mean":
        raise ConfigError(
            f"{type(model).__name__} averages its patches and has no logits without any, which Shapley values start "
            "from; use kernel_shap, which paints absent patches."
        )


_TOKENS = frozenset({"attention", "chunk", "class_token"})
register(Method("kernel_shap", kernel_shap, "Lundberg & Lee 2017", forward=2002, needs=frozenset({"chunk"})))
register(dataclasses.replace(METHODS["kernel_shap"].using("token_kernel_shap", baseline="remove"), needs=_TOKENS))
