"""Axioms of the Shapley value over parts of a cell."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from spermjax.interpret.methods.part_banzhaf import banzhaf, part_banzhaf
from spermjax.interpret.methods.part_shapley import PLAYERS, part_shapley, part_values, player_map, shapley
from spermjax.interpret.model import FunctionModel
from tests.interpret.support import Foreign, close_to_maximum

TARGETS = np.array([0, 1, 2, 0, 1], np.int32)


jitted = functools.partial(jax.jit, static_argnums=0, static_argnames=("chunk",))
values_of, map_of = jitted(part_values), jitted(part_shapley)


def test_shapley_is_the_mean_gain_over_all_orders():
    """Witness: the definition, by enumeration of the 24 orders of four players."""
    values = np.random.default_rng(0).normal(size=(1, 16)).astype(np.float32)
    expected = np.zeros(4)
    for order in itertools.permutations(range(4)):
        coalition = 0
        for player in order:
            expected[player] += values[0, coalition | 1 << player] - values[0, coalition]
            coalition |= 1 << player
    np.testing.assert_allclose(shapley(jnp.asarray(values))[0], expected / 24, atol=1e-6)


def test_banzhaf_is_the_mean_gain_over_all_coalitions():
    """Witness: the definition, one coalition of the other players after another."""
    values = np.random.default_rng(0).normal(size=(1, 16)).astype(np.float32)
    expected = [
        np.mean(
            [values[0, others | 1 << player] - values[0, others] for others in range(16) if not others >> player & 1]
        )
        for player in range(4)
    ]
    np.testing.assert_allclose(banzhaf(jnp.asarray(values))[0], expected, atol=1e-6)


def test_values_are_complete_and_absent_parts_get_nothing(foreign, cells):
    model, variables = foreign
    values = values_of(model, variables, cells.image, TARGETS, parts=cells.parts, chunk=7)
    rise = model.apply(variables, cells.image) - model.apply(variables, jnp.full_like(cells.image, 0.5))
    np.testing.assert_allclose(values.sum(1), rise[np.arange(5), TARGETS], atol=1e-4)
    assert (values[1, PLAYERS.index("vacuole")], values[0, PLAYERS.index("residual_cytoplasm")]) == (0.0, 0.0)
    assert values[0, PLAYERS.index("vacuole")] != 0.0


def test_an_additive_score_gives_each_part_its_own_sum_whatever_the_chunk(cells):
    weights = jax.random.normal(jax.random.key(0), (*cells.image.shape[1:], 3))
    model = FunctionModel(lambda images: jnp.einsum("bhwc,hwco->bo", images - 0.5, weights))
    own = jnp.einsum("bhwc,hwco->bhwo", cells.image - 0.5, weights)[np.arange(5), :, :, TARGETS]
    players = player_map(cells.parts)
    expected = jnp.stack([(own * (players == player)).sum((1, 2)) for player in range(len(PLAYERS))], axis=1)
    for chunk in (1000, 33):
        close_to_maximum(values_of(model, {}, cells.image, TARGETS, parts=cells.parts, chunk=chunk), expected)
    # Each player then adds the same to whatever coalition, so however they are weighted.
    maps = jax.jit(lambda x, p: part_banzhaf(model, {}, x, TARGETS, parts=p))(cells.image, cells.parts)
    sums = jnp.stack([(maps * (players == player)).sum((1, 2)) for player in range(len(PLAYERS))], axis=1)
    close_to_maximum(sums, expected)


def test_the_map_spreads_each_value_over_its_pixels(cells):
    model = Foreign()
    variables = {"params": jax.jit(model.init)(jax.random.key(0), cells.image)["params"]}
    values = values_of(model, variables, cells.image, TARGETS, parts=cells.parts)
    maps = map_of(model, variables, cells.image, TARGETS, parts=cells.parts)
    players = player_map(cells.parts)
    for player in range(len(PLAYERS)):
        np.testing.assert_allclose((maps * (players == player)).sum((1, 2)), values[:, player], atol=1e-4)


def test_only_coalitions_of_parts_that_are_there_are_computed(cells):
    """A cell that shows k players takes 2 ** k forward passes: background alone 2, six players 64, five 32."""
    seen = []

    def function(images):
        jax.debug.callback(lambda size: seen.append(int(size)), images.shape[0])
        return jnp.stack([images.sum((1, 2, 3))] * 3, axis=1)

    no_parts = np.zeros_like(cells.parts)
    jax.block_until_ready(part_values(FunctionModel(function), {}, cells.image, TARGETS, parts=no_parts, chunk=5))
    jax.effects_barrier()
    assert sum(seen) == 2 * 5
    seen.clear()
    jax.block_until_ready(
        values_of(FunctionModel(function), {}, cells.image[:2], TARGETS[:2], parts=cells.parts[:2], chunk=16)
    )
    jax.effects_barrier()
    assert sum(seen) == 64 + 32


def test_overlapping_parts_belong_to_what_lies_on_top(cells):
    players = np.asarray(player_map(cells.parts))
    assert players[0, 5, 6] == PLAYERS.index("vacuole")
    assert players[1, 5, 6] == PLAYERS.index("acrosome")
    assert players[0, 0, 0] == PLAYERS.index("background")
