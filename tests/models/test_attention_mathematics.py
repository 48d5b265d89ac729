"""Each variant's own mathematics, against brute force, NumPy or what its paper promises."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.models.attention import VARIANTS
from spermjax.models.attention.base import Given
from spermjax.models.attention.contract import ATTENTION, CONTRIBUTIONS
from spermjax.models.attention.entmax15 import entmax15
from spermjax.models.attention.performer import orthogonal_directions, positive_features
from spermjax.models.attention.sparsemax import sparsemax
from tests.models.test_variants import IMAGES, build, captured, variables

SCORES = np.float32(np.random.default_rng(0).normal(size=(20, 6)) * np.linspace(0.1, 3, 20)[:, None])


def nearest_on_the_simplex(scores):
    """Brute force: the best of the projections onto every face that lie in it."""
    best = None
    for size in range(1, len(scores) + 1):
        for face in map(list, itertools.combinations(range(len(scores)), size)):
            point = np.zeros(len(scores))
            point[face] = scores[face] - (scores[face].sum() - 1) / size
            if point.min() >= 0 and (best is None or np.sum((point - scores) ** 2) < np.sum((best - scores) ** 2)):
                best = point
    return best


def entmax_by_bisection(scores):
    """Sum relu(s / 2 - tau)^2 = 1, whose left side falls with tau."""
    low, high = scores.max() / 2 - 1, scores.max() / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (np.maximum(scores / 2 - middle, 0) ** 2).sum() > 1 else (low, middle)
    return np.maximum(scores / 2 - low, 0) ** 2


@pytest.mark.parametrize(("exact", "witness"), [(sparsemax, nearest_on_the_simplex), (entmax15, entmax_by_bisection)])
def test_sparse_distributions_are_exact(exact, witness):
    weights = exact(SCORES)
    np.testing.assert_allclose(weights, [witness(row) for row in np.float64(SCORES)], atol=1e-6)
    np.testing.assert_allclose(exact(SCORES + 100), weights, atol=1e-4)
    assert 0 < (weights == 0).mean() < 1


@pytest.mark.parametrize("exact", [sparsemax, entmax15])
def test_sparse_distributions_sum_to_one_over_thousands_of_keys_far_and_near(exact):
    rng = np.random.default_rng(0)
    scores = np.float32([scale * rng.normal(size=4096) for scale in (0.0, 1e-3, 1.0, 30.0, 1e4)])
    scores[-1, ::2] = -1e30
    np.testing.assert_allclose(exact(scores).sum(-1), 1.0, atol=3e-6)


@pytest.mark.parametrize("exact", [sparsemax, entmax15])
def test_gradients_of_sparse_distributions_equal_finite_differences(exact):
    upstream = np.float32(np.random.default_rng(1).normal(size=6))
    score = jax.vmap(lambda row: exact(row) @ upstream)
    gradient = jax.grad(lambda rows: score(rows).sum())(SCORES)
    for place in range(6):
        step = np.float32(1e-2) * np.eye(6, dtype=np.float32)[place]
        difference = (score(SCORES + step) - score(SCORES - step)) / 2e-2
        # The support changes within the step for a few rows; there is no derivative there.
        assert np.isclose(gradient[:, place], difference, atol=2e-2).mean() >= 0.8


def test_random_features_approach_the_softmax():
    rng = np.random.default_rng(0)
    query, key = np.float32(0.6 * rng.normal(size=(2, 1, 1, 5, 8)))
    exact = jax.nn.softmax(jnp.einsum("bhqc,bhkc->bhqk", query, key) / 8**0.5)
    errors = []
    for features in (16, 65536):
        directions = orthogonal_directions(features, 8, seed=0)
        products = jnp.einsum(
            "bhqf,bhkf->bhqk",
            positive_features(query * 8**-0.25, directions, (3,)),
            positive_features(key * 8**-0.25, directions, (2, 3)),
        )
        errors.append(np.abs(products / products.sum(-1, keepdims=True) - exact).max())
    assert errors[1] < 0.01 < errors[0]


def scoring(name, grid, query, key, **options):
    layer = VARIANTS[name](heads=query.shape[1], grid=grid, **options)
    tokens = jnp.moveaxis(query, 1, 2).reshape(len(query), query.shape[2], -1)
    given = Given(tokens=tokens, query=query, key=key, mask=None, layer=0)
    return layer.apply({}, method=lambda module: module.scoring(given))


def test_rotary_scores_depend_on_offsets_alone():
    one = np.float32(np.random.default_rng(0).normal(size=(2, 1, 1, 1, 8)))
    query, key = (jnp.broadcast_to(x, (1, 1, 12, 8)) for x in one)
    turned = scoring("rotary", (3, 4), query, key)
    product = jnp.einsum("bhqc,bhkc->qk", turned.query, turned.key).reshape(3, 4, 3, 4)
    np.testing.assert_allclose(product[0, 0, 1, 2], product[1, 1, 2, 3], rtol=1e-5)
    np.testing.assert_allclose(product[2, 3, 0, 1], product[2, 2, 0, 0], rtol=1e-5)
    assert abs(product[0, 0, 1, 2] - product[0, 0, 2, 1]) > 1e-3


def test_alibi_falls_with_distance_at_each_heads_slope():
    query = jnp.zeros((1, 2, 12, 4))
    bias = scoring("alibi", (3, 4), query, query).bias
    np.testing.assert_allclose(bias[:, 0, 6], [-(2.0**-4) * 5**0.5, -(2.0**-8) * 5**0.5], rtol=1e-6)


def maps(name, layer=0):
    """Weights of patches to patches, `[batch, heads, row, column, row, column]`, and the tokens before them."""
    weights = captured(name)[ATTENTION][f"block_{layer}"]["attention"]["weights"]
    first = weights.shape[-1] - 16
    return weights[:, :, first:, first:].reshape(4, 2, 4, 4, 4, 4)


def test_windows_and_axes_are_kept():
    assert (maps("window")[:, :, :2, :2, 2:] == 0).all()
    assert (maps("window")[:, :, :2, :2, :2, :2] > 0).all()
    assert (maps("window", layer=1)[:, :, 1:3, 1:3, 1:3, 1:3] > 0).all()
    assert (maps("window", layer=1)[:, :, 0, 0, 1:] == 0).all()
    assert (maps("axial")[:, :, 1, :, [0, 2, 3]] == 0).all()
    assert (maps("axial", layer=1)[:, :, :, 1, :, [0, 2, 3]] == 0).all()


def test_no_token_of_locality_attention_sees_itself():
    weights = captured("locality")[ATTENTION]["block_0"]["attention"]["weights"]
    assert (np.diagonal(weights, axis1=2, axis2=3) == 0).all()


def test_differential_rows_sum_to_one_minus_lambda():
    layer = variables("differential")["params"]["block_1"]["attention"]
    ratio = np.exp(layer["query_1"] @ layer["key_1"]) - np.exp(layer["query_2"] @ layer["key_2"])
    ratio += 0.8 - 0.6 * np.exp(-0.3)
    weights = captured("differential")[ATTENTION]["block_1"]["attention"]["weights"]
    np.testing.assert_allclose(weights.sum(-1), 1 - ratio, rtol=1e-4)


def test_logits_are_the_sum_of_what_parts_contribute():
    """Witness: contributions recomputed in NumPy from captured weights, values and the linear map."""
    logits, out = build("part_query").apply(variables("part_query"), IMAGES, mutable=[ATTENTION, CONTRIBUTIONS])
    contributions = np.asarray(out[CONTRIBUTIONS]["part_query"]["parts"])
    layer = variables("part_query")["params"]["part_query"]
    np.testing.assert_allclose(contributions.sum(1) + layer["bias"], logits, atol=1e-5)
    weights = out[ATTENTION]["part_query"]["weights"]
    assert contributions.shape == (4, 6, 3)
    assert (weights[:, :, :6, :7] == 0).all()  # Part queries, and the register, are no keys.
    one = jnp.zeros_like(weights).at[:, :, 2].set(weights[:, :, 2])
    removed = build("part_query").apply(
        {**variables("part_query"), "perturbations": {"part_query": {"weights": -one}}}, IMAGES
    )
    np.testing.assert_allclose(removed, logits - contributions[:, 2], atol=1e-5)


@pytest.mark.parametrize("changes", [{"attention": "class_attention"}, {"pool": "sequence"}])
def test_before_its_layer_a_reader_keeps_to_itself_and_takes_no_part(changes):
    model = build("softmax", **changes)
    params = model.init(jax.random.key(0), IMAGES)["params"]
    _, out = model.apply({"params": params}, IMAGES, mutable=[ATTENTION])
    *blocks, last = jax.tree.leaves(out[ATTENTION])
    for weights in blocks[:2]:
        np.testing.assert_array_equal(weights[:, :, 0], np.eye(18)[0] * np.ones((4, 2, 1)))
        assert (weights[:, :, 1:, 0] == 0).all()
    np.testing.assert_allclose(last[:, :, 0].sum(-1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(last[:, :, 1:], np.broadcast_to(np.eye(18)[1:], (4, 2, 17, 18)))
