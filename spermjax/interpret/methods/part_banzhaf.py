"""Banzhaf values of the cell's parts."""

from typing import Any

from jaxtyping import Array, Bool, Float, Int

from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.methods.part_shapley import PLAYERS, coalition_values, gains, player_map, spread
from spermjax.interpret.model import Variables


def banzhaf(values: Float[Array, "batch coalitions"]) -> Float[Array, "batch players"]:
    """Banzhaf values of a game given by the value of each coalition (Banzhaf 1965).

    Args:
        values: `2 ** players` values; bit `i` of the index says whether player `i` is in.

    Returns:
        Mean gains over all coalitions of the other players, each counted alike; exactly
        zero for a player that changes nothing. Unlike Shapley values they need not sum
        to the value of the grand coalition.
    """
    return gains(values).mean(axis=-1)


def part_banzhaf(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    *,
    parts: Bool[Array, "batch height width parts"],
    baseline: float = 0.5,
    chunk: int = 64,
) -> Float[Array, "batch height width"]:
    """Banzhaf values of the parts, each spread evenly over its player's pixels.

    The game of `spermjax.interpret.methods.part_shapley`; where Shapley values count
    each size of coalition alike, these count each coalition alike, most of which are of
    middle size: half of the cell is missing.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        parts: masks, made disjoint by `player_map`.
        baseline: intensity that stands for an absent player; the default is mid-grey.
        chunk: images in one forward pass: bounds the memory.
    """
    players = player_map(parts)
    values = coalition_values(model, variables, images, targets, players, baseline=baseline, chunk=chunk)
    return spread(banzhaf(values), players)


register(
    Method(
        name="part_banzhaf",
        native=part_banzhaf,
        citation="Banzhaf 1965",
        forward=2 ** len(PLAYERS),
        needs=frozenset({"parts", "chunk"}),
    )
)
