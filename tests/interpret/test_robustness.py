"""Maps under small noise and under moves of the image; parts taken away and shown alone; sets of patches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg

from spermjax.errors import ConfigError
from spermjax.interpret import FunctionModel, evaluate
from spermjax.interpret.metrics import METRICS, confidence, imputation, robustness, subsets
from spermjax.parts import PARTS, REGIONS
from tests.interpret.support import Foreign

SHOWS = FunctionModel(lambda images: jnp.stack([images.mean((1, 2, 3)), jnp.zeros(len(images))], 1))
TARGETS = np.zeros(5, np.int32)


def test_a_map_of_the_image_moves_with_it_and_a_blob_does_not_mind():
    rng = np.random.default_rng(0)
    images = np.float32(rng.uniform(size=(2, 16, 16, 3)))
    metrics = ("flip_equivariance", "rotation_equivariance", "max_sensitivity")
    values = evaluate(SHOWS, {}, images, 0, methods=("intensity", "centre_gaussian", "uniform"), metrics=metrics).values
    for method in ("intensity", "centre_gaussian"):
        np.testing.assert_allclose(values[f"{method}/flip_equivariance"], 1.0, atol=1e-4)
        np.testing.assert_allclose(values[f"{method}/rotation_equivariance"], 1.0, atol=1e-4)
    assert np.isnan(values["uniform/flip_equivariance"]).all()
    assert (values["intensity/max_sensitivity"] > 0).all()
    np.testing.assert_array_equal(values["centre_gaussian/max_sensitivity"], 0.0)


def test_a_map_that_ignores_the_move_is_not_equivariant_and_turns_ask_for_squares():
    fixed = jnp.asarray(np.random.default_rng(1).uniform(size=(2, 8, 8)), jnp.float32)
    arguments = {"variables": {}, "targets": None, "parts": jnp.zeros((2, 8, 8, 1), bool)}
    explain = lambda variables, images, targets, parts: fixed  # noqa: E731
    value = robustness.rotation_equivariance(explain=explain, images=jnp.zeros((2, 8, 8, 3)), **arguments)
    assert (np.abs(value) < 0.5).all()
    with pytest.raises(ConfigError, match="8 x 6"):
        robustness.rotation_equivariance(explain=explain, images=jnp.zeros((2, 8, 6, 3)), **arguments)


def test_imputation_solves_its_equations():
    """Witness: a sparse solver in double precision. A plane is filled in exactly."""
    rng = np.random.default_rng(2)
    image, known = rng.uniform(size=(9, 11, 2)), rng.uniform(size=(9, 11)) < 0.4
    where = {tuple(place): i for i, place in enumerate(np.argwhere(~known))}
    system, given = scipy.sparse.lil_matrix((len(where),) * 2), np.zeros((len(where), 2))
    for (row, column), i in where.items():
        for a, b in imputation.NEIGHBOURS:
            place, weight = (row + a, column + b), 1 / 12 if a and b else 1 / 6
            if not (0 <= place[0] < 9 and 0 <= place[1] < 11):
                continue
            system[i, i] += weight
            if place in where:
                system[i, where[place]] -= weight
            else:
                given[i] += weight * image[place]
    expected = image.copy()
    expected[~known] = scipy.sparse.linalg.spsolve(system.tocsc(), given)
    actual = imputation.impute(jnp.asarray(image, jnp.float32)[None], jnp.asarray(known)[None])
    np.testing.assert_allclose(actual[0], expected, atol=1e-4)
    plane = jnp.add.outer(jnp.arange(8.0), 2 * jnp.arange(8.0))[None, ..., None] / 20
    hole = jnp.ones((1, 8, 8), bool).at[:, 3:6, 2:5].set(False)
    np.testing.assert_allclose(imputation.impute(plane, hole), plane, atol=1e-4)


def test_the_part_that_the_model_reads_is_needed_and_enough(cells):
    """A model of the acrosome's darkness: taking it away costs, taking the tail away does not."""
    rows, columns = slice(4, 8), slice(5, 11)

    def function(images):
        dark = 1 - images[:, rows, columns].mean((1, 2, 3))
        return jnp.stack([20 * (dark - 0.3), jnp.zeros(len(images))], axis=1)

    values = evaluate(
        FunctionModel(function), {}, cells, TARGETS, methods=(), metrics=("comprehensiveness", "sufficiency")
    ).values
    assert (values["model/comprehensiveness/acrosome"][:4] > 0.2).all()
    assert (np.abs(values["model/comprehensiveness/tail"][:4]) < 0.02).all()
    assert (np.abs(values["model/sufficiency/acrosome"][:4]) < 0.02).all()
    assert (values["model/sufficiency/tail"][:4] > 0.2).all()
    for name in ("comprehensiveness", "sufficiency"):
        assert {f"model/{name}/{region}" for region in REGIONS} <= set(values)
        np.testing.assert_array_equal(np.isnan(values[f"model/{name}/vacuole"]), [False, True, False, False, True])


LINEAR = np.random.default_rng(3).uniform(size=(4, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def additive():
    """A model whose logit is the sum of patches' means times known weights: painting black shows each weight."""

    def function(images):
        patches = images.mean(-1).reshape(len(images), 4, 4, 4, 4).mean((2, 4))
        return jnp.stack([(patches * LINEAR).sum((1, 2)), jnp.zeros(len(images))], axis=1)

    return FunctionModel(function)


OF_SETS = ("faithfulness_correlation", "sensitivity_n", "faithfulness_estimate", "monotonicity_correlation", "saco")


@pytest.mark.parametrize("name", OF_SETS)
def test_the_true_weights_are_perfectly_faithful(additive, name):
    """Witness: on white images each patch is worth its weight; a constant map says nothing."""
    images = jnp.ones((3, 16, 16, 3))
    arguments = {
        "model": additive,
        "variables": {},
        "images": images,
        "targets": jnp.zeros(3, jnp.int32),
        "chunk": 8,
        "index": jnp.arange(3),
        "kind": "single_label",
    }
    metric = METRICS[f"{name}_zero"]
    run = jax.jit(
        lambda scores: metric.function(
            patch_scores=scores, **{name: arguments[name] for name in metric.needs - {"patch_scores"}}
        )
    )
    weights = jnp.broadcast_to(LINEAR, (3, 4, 4))
    np.testing.assert_allclose(run(weights), 1.0, atol=1e-4)
    # The order of absolute values forgives the sign, and is turned round by a falling function of them.
    wrong = 1 / weights if name == "monotonicity_correlation" else -weights
    np.testing.assert_allclose(run(wrong), -1.0, atol=1e-4)
    # Sums of as many tenths differ by rounding.
    for constant in (jnp.ones((3, 4, 4)), jnp.full((3, 8, 8), 0.1)):
        assert np.isnan(run(constant)).all()
    assert np.isnan(run(weights.at[1, 0, 0].set(jnp.nan)))[1]


@pytest.mark.parametrize("side", [1, 2])
def test_sets_of_the_smallest_grids(additive, side):
    """Of one patch nothing can be compared; of two by two some sizes of sets can."""
    value = subsets.sensitivity_n(
        model=additive,
        variables={},
        images=jax.random.uniform(jax.random.key(0), (2, 16, 16, 3)),
        targets=jnp.zeros(2, jnp.int32),
        patch_scores=jax.random.uniform(jax.random.key(1), (2, side, side)),
        index=jnp.arange(2),
        replacement=0.0,
    )
    np.testing.assert_array_equal(np.isfinite(value), side > 1)


def test_confidence_in_what_a_map_shows(additive):
    """Witness: the softmax of a known sum. A NaN and a constant map are undefined, whatever the other examples are."""
    model = FunctionModel(lambda images: additive.apply({}, images) / 2)
    images = jax.random.uniform(jax.random.key(0), (4, 16, 16, 3))
    inside = jnp.zeros((4, 16, 16)).at[:, :8].set(5.0)
    maps = inside.at[1].set(0.1).at[2, 0, 0].set(jnp.nan).at[3].multiply(-1.0)
    arguments = {"model": model, "variables": {}, "images": images, "targets": jnp.zeros(4, jnp.int32), "map": maps}
    weights = np.kron(LINEAR, np.ones((4, 4))) / 16
    kept = np.array(images.mean(-1))
    before = 1 / (1 + np.exp(-0.5 * (kept * weights).sum((1, 2))))
    # The last map is highest where the other is lowest.
    kept[0, 8:], kept[3, :8] = 0.0, 0.0
    after = 1 / (1 + np.exp(-0.5 * (kept * weights).sum((1, 2))))
    undefined = [False, True, True, False]
    fall = jax.jit(lambda: confidence.drop_in_confidence(baseline=0.0, **arguments))()
    np.testing.assert_allclose(fall, np.where(undefined, np.nan, 1 - after / before), atol=1e-6)
    # Towards white the score can only rise.
    rise = jax.jit(lambda: confidence.increase_in_confidence(baseline=1.0, **arguments))()
    np.testing.assert_array_equal(rise, np.where(undefined, np.nan, 1.0))
    np.testing.assert_array_equal(confidence.increase_in_confidence(baseline=0.0, **arguments)[::3], 0.0)


def test_the_gradient_of_a_linear_model_has_no_infidelity(additive):
    """In units of the map's own scale, so any positive multiple has none; a map of noise explains little."""
    images = jnp.full((2, 16, 16, 3), 0.5)
    gradient = jnp.broadcast_to(jnp.asarray(LINEAR).repeat(4, 0).repeat(4, 1), (2, 16, 16))
    infidelity = jax.jit(
        lambda map: subsets.infidelity(
            model=additive, variables={}, images=images, targets=TARGETS[:2], map=map, index=jnp.arange(2)
        )
    )
    np.testing.assert_allclose(infidelity(7 * gradient), 0.0, atol=1e-4)
    noise = jax.random.normal(jax.random.key(0), gradient.shape)
    assert (infidelity(noise) > 0.2).all()


def test_subsets_follow_the_example_and_hold_the_wanted_share():
    sets = subsets.random_subsets(jnp.array([7, 3, 7]), 16, 4, 10)
    assert (sets.sum(-1) == 4).all()
    np.testing.assert_array_equal(sets[:, 0], sets[:, 2])
    assert (sets[:, 0] != sets[:, 1]).any()


def test_curves_over_painted_and_left_out_patches(cells):
    """The right map wins on every curve, on the background too; without masks the background is unknown."""
    model = Foreign()
    variables = {"params": jax.jit(model.init)(jax.random.key(0), cells.image)["params"]}
    metrics = ("morf", "monotonicity", "morf_background", "road")
    values = evaluate(model, variables, cells, TARGETS, methods=("random",), metrics=metrics).values
    assert all(np.isfinite(values[f"random/{name}"]).all() for name in ("morf", "monotonicity", "road"))
    np.testing.assert_array_equal(np.isnan(values["random/morf_background"]), [False] * 4 + [True])
    assert ((values["random/monotonicity"] >= 0) & (values["random/monotonicity"] <= 1)).all()
    assert len(PARTS) == cells.parts.shape[-1]
