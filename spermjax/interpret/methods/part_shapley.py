"""Exact Shapley values of the cell's parts."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.model import Variables, score
from spermjax.parts import PARTS

PLAYERS = ("background", *PARTS)

# Where parts overlap, the pixel belongs to the first of these.
ON_TOP = ("vacuole", "acrosome", "nucleus", "midpiece", "tail", "residual_cytoplasm")


def player_map(parts: Bool[Array, "batch height width parts"]) -> Int[Array, "batch height width"]:
    """The one player that each pixel belongs to, as an index into `PLAYERS`.

    Shapley values need disjoint players. Where masks overlap, the smaller structure
    that lies on or in the other takes the pixel: `ON_TOP` gives the order.
    """
    order = np.array([PARTS.index(part) for part in ON_TOP])
    first = jnp.argmax(parts[..., order], axis=-1)
    return jnp.where(parts.any(axis=-1), jnp.asarray(order + 1)[first], 0)


def coalition_values(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    players: Int[Array, "batch height width"],
    *,
    baseline: float = 0.5,
    chunk: int = 64,
) -> Float[Array, "batch coalitions"]:
    """The target logit with only the pixels of each coalition shown.

    An empty player changes no pixel, so coalitions that differ by empty players share
    one value, and only one of them is computed: a cell that shows `k` players takes
    `2 ** k` forward passes.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        players: which player each pixel belongs to.
        baseline: intensity of the pixels that are not shown.
        chunk: images in one forward pass: bounds the memory.

    Returns:
        Values; player `i` takes part in the coalitions whose index has bit `i`.
    """
    images, targets, players = jnp.asarray(images), jnp.asarray(targets), jnp.asarray(players)
    count = 2 ** len(PLAYERS)
    here = jax.nn.one_hot(players, len(PLAYERS), dtype=bool).any(axis=(1, 2))
    present = (here << jnp.arange(len(PLAYERS))).sum(axis=1)
    coalitions = jnp.arange(count)
    needed = (coalitions & ~present[:, None]) == 0
    size = min(chunk, needed.size)
    needed_first = jnp.argsort(~needed.reshape(-1), stable=True)
    pairs = jnp.pad(needed_first, (0, -needed.size % size), mode="edge")

    def evaluate(step: Int[Array, ""], values: Float[Array, "pairs"]) -> Float[Array, "pairs"]:
        pair = jax.lax.dynamic_slice_in_dim(pairs, step * size, size)
        example, coalition = pair // count, pair % count
        shown = (coalition[:, None, None] >> players[example]) & 1 == 1
        masked = jnp.where(shown[..., None], images[example], baseline)
        return values.at[pair].set(score(model, variables, masked, targets[example]))

    steps = -(-needed.sum() // size)
    values = jax.lax.fori_loop(0, steps, evaluate, jnp.zeros(needed.size)).reshape(needed.shape)
    return jnp.take_along_axis(values, coalitions & present[:, None], axis=1)


def _without(players: int) -> Int[np.ndarray, "players others"]:
    """The coalitions that each player is not in."""
    everyone = np.arange(2**players)
    return np.stack([everyone[(everyone >> player) & 1 == 0] for player in range(players)])


def gains(values: Float[Array, "batch coalitions"]) -> Float[Array, "batch players others"]:
    """What each player adds to each coalition of the others, given the value of each coalition.

    Args:
        values: `2 ** players` values; bit `i` of the index says whether player `i` is in.
    """
    count = values.shape[-1].bit_length() - 1
    without = _without(count)
    return values[:, without | (1 << np.arange(count))[:, None]] - values[:, without]


def shapley(values: Float[Array, "batch coalitions"]) -> Float[Array, "batch players"]:
    """Shapley values of a game given by the value of each coalition (Shapley 1953).

    Args:
        values: `2 ** players` values; bit `i` of the index says whether player `i` is in.

    Returns:
        Values that sum to that of the grand coalition minus that of the empty one;
        exactly zero for a player that changes nothing.
    """
    count = values.shape[-1].bit_length() - 1
    sizes = np.bitwise_count(_without(count))
    weights = 1.0 / (count * np.vectorize(math.comb)(count - 1, sizes))
    return (gains(values) * jnp.asarray(weights, values.dtype)).sum(axis=-1)


def spread(
    values: Float[Array, "batch players"], players: Int[Array, "batch height width"]
) -> Float[Array, "batch height width"]:
    """Each player's value spread evenly over its pixels."""
    areas = jax.nn.one_hot(players, values.shape[1]).sum(axis=(1, 2))
    per_pixel = values / jnp.maximum(areas, 1.0)
    return jax.vmap(lambda value, player: value[player])(per_pixel, players)


def part_values(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    parts: Bool[Array, "batch height width parts"],
    baseline: float = 0.5,
    chunk: int = 64,
) -> Float[Array, "batch players"]:
    """The share of each of `PLAYERS` in the target logit's rise over the empty image.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        parts: masks, made disjoint by `player_map`.
        baseline: intensity that stands for an absent player; the default is mid-grey.
        chunk: images in one forward pass: bounds the memory.

    Returns:
        Shapley values; zero for parts that the masks don't show.
    """
    players = player_map(parts)
    return shapley(coalition_values(model, variables, images, targets, players, baseline=baseline, chunk=chunk))


def part_shapley(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    parts: Bool[Array, "batch height width parts"],
    baseline: float = 0.5,
    chunk: int = 64,
) -> Float[Array, "batch height width"]:
    """Shapley values of the parts, each spread evenly over its player's pixels.

    The map sums to the rise of the target logit over the empty image, so it compares
    with pixel attributions. Options as in `part_values`.
    """
    players = player_map(parts)
    values = part_values(model, variables, images, targets, parts=parts, baseline=baseline, chunk=chunk)
    return spread(values, players)


register(
    Method(
        name="part_shapley",
        native=part_shapley,
        citation="Shapley 1953; Lundberg & Lee 2017",
        forward=2 ** len(PLAYERS),
        needs=frozenset({"parts", "chunk"}),
    )
)
