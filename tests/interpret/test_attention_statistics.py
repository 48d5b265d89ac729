"""Attention statistics where the answer is known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np

from spermjax.interpret.metrics import attention as statistics
from spermjax.models.attention.contract import AttentionSpec

SPEC = AttentionSpec(prefix=2, grid=(2, 3))


def test_uniform_attention():
    uniform = jnp.full((1, 1, 1, 8, 8), 1 / 8)
    np.testing.assert_allclose(statistics.entropy(uniform), np.log(8), rtol=1e-5)
    np.testing.assert_allclose(statistics.class_row_entropy(uniform, SPEC), np.log(6), rtol=1e-5)
    np.testing.assert_allclose(statistics.prefix_mass(uniform, SPEC), 2 / 8)
    np.testing.assert_allclose(
        statistics.mean_distance(uniform, SPEC), statistics.patch_distances(SPEC).mean(), rtol=1e-5
    )


def test_attention_to_oneself_has_no_distance_and_no_entropy():
    identity = jnp.eye(8)[None, None, None]
    np.testing.assert_allclose(statistics.entropy(identity), 0.0, atol=1e-6)
    np.testing.assert_allclose(statistics.mean_distance(identity, SPEC), 0.0)
    np.testing.assert_allclose(statistics.prefix_mass(identity, SPEC), 1.0)


def test_distance_is_euclidean_between_patch_centres():
    distances = np.asarray(statistics.patch_distances(SPEC))
    assert distances[0, 5] == np.float32(np.hypot(1, 2))
    np.testing.assert_array_equal(distances, distances.T)


def test_no_budget_exceeds_its_ceiling_and_a_partition_spends_all():
    attention = jax.nn.softmax(3 * jax.random.normal(jax.random.key(0), (2, 4, 3, 8, 8)))
    share = jax.random.uniform(jax.random.key(1), (4, 2, 3))
    coverage = jnp.stack([share, 1 - share], axis=-1)
    budget = statistics.part_budget(attention, SPEC, coverage)
    assert (budget <= statistics.part_ceiling(coverage)[None, :, None] + 1e-6).all()
    np.testing.assert_allclose(budget.sum(-1), 1.0, rtol=1e-5)


def test_shares_of_tokens_before_the_patches():
    uniform = jnp.full((1, 1, 1, 8, 8), 1 / 8)
    np.testing.assert_allclose(statistics.class_token_share(uniform, SPEC), 1 / 8)
    np.testing.assert_allclose(statistics.register_share(uniform, SPEC), 1 / 8)
    assert np.isnan(statistics.register_share(uniform[..., 1:, 1:], AttentionSpec(prefix=1, grid=(2, 3)))).all()
    averaged = AttentionSpec(prefix=2, grid=(2, 3), reads="mean")
    assert np.isnan(statistics.class_token_share(uniform, averaged)).all()
    np.testing.assert_allclose(statistics.register_share(uniform, averaged), 2 / 8)


def test_border_concentration_is_one_by_chance_and_zero_in_the_middle():
    spec = AttentionSpec(prefix=1, grid=(4, 4))
    uniform = jnp.full((1, 1, 1, 17, 17), 1 / 17)
    np.testing.assert_allclose(statistics.border_concentration(uniform, spec), 1.0, rtol=1e-6)
    middle = jnp.zeros((1, 1, 1, 17, 17)).at[..., 0, 1 + 5].set(1.0)
    np.testing.assert_allclose(statistics.border_concentration(middle, spec), 0.0)


def test_rank_and_collapse_at_their_ends():
    alike = jnp.broadcast_to(jax.nn.softmax(jnp.arange(8.0)), (1, 1, 1, 8, 8))
    identity = jnp.eye(8)[None, None, None]
    np.testing.assert_allclose(statistics.effective_rank(alike), 1.0, rtol=1e-3)
    np.testing.assert_allclose(statistics.effective_rank(identity), 8.0, rtol=1e-5)
    np.testing.assert_allclose(statistics.collapse(alike), 1.0, rtol=1e-5)
    np.testing.assert_allclose(statistics.collapse(identity), 0.0, atol=1e-6)


def test_heads_agree_with_copies_of_themselves_and_oppose_their_reverse():
    """Witness: NumPy's correlation coefficient of three heads."""
    attention = jax.nn.softmax(jax.random.normal(jax.random.key(0), (1, 2, 3, 8, 8)))
    rows = np.asarray(attention[0, :, :, 0, 2:])
    expected = [np.corrcoef(row)[np.triu_indices(3, 1)].mean() for row in rows]
    np.testing.assert_allclose(statistics.head_agreement(attention, SPEC)[0], expected, rtol=1e-4)
    twice = jnp.repeat(attention[:, :, :1], 2, axis=2)
    np.testing.assert_allclose(statistics.head_agreement(twice, SPEC), 1.0, rtol=1e-5)
    assert np.isnan(statistics.head_agreement(attention[:, :, :1], SPEC)).all()
