"""Localisation metrics: their extremes, their undefined cases, and scikit-learn as witness."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import threshold_otsu
from sklearn.metrics import average_precision_score, roc_auc_score

from spermjax.interpret.metrics import METRICS, complexity, localisation, overlap, ranking

AGAINST_MASK = [name for name, metric in METRICS.items() if metric.needs == {"map", "mask"} and not name.endswith("px")]
MASK = np.zeros((8, 8), bool)
MASK[2:4, 3:6] = True


def value(name, map, mask, **options):
    return float(METRICS[name].function(jnp.asarray(map, jnp.float32)[None], jnp.asarray(mask)[None], **options)[0])


@pytest.mark.parametrize("name", AGAINST_MASK)
def test_a_perfect_map_beats_a_wrong_one_and_an_empty_mask_is_undefined(name):
    options = {"k": 6} if name == "top_k_intersection" else {}
    perfect = MASK + np.random.default_rng(0).uniform(0, 1e-3, MASK.shape)
    assert value(name, perfect, MASK, **options) > value(name, 1.001 - perfect, MASK, **options)
    if name != "enrichment":
        assert value(name, perfect, MASK, **options) == pytest.approx(1.0, abs=0.01)
    assert np.isnan(value(name, perfect, np.zeros_like(MASK)))


@pytest.mark.parametrize("name", AGAINST_MASK)
def test_a_positive_factor_changes_nothing(name):
    map = np.random.default_rng(1).uniform(size=MASK.shape)
    assert value(name, 7 * map, MASK) == pytest.approx(value(name, map, MASK), rel=1e-5)


def test_constant_and_zero_maps():
    ones, zeros = np.ones(MASK.shape), np.zeros(MASK.shape)
    assert np.isnan(value("pointing_game", ones, MASK))
    assert value("enrichment", ones, MASK) == pytest.approx(1.0)
    assert value("auroc", ones, MASK) == 0.5
    assert value("average_precision", ones, MASK) == pytest.approx(MASK.mean())
    for threshold in overlap.THRESHOLDS:
        assert np.isnan(value(f"iou_at_{threshold}", ones, MASK)), threshold
    for name in ("energy_pointing_game", "enrichment", "relevance_mass_accuracy", "attribution_localisation"):
        assert np.isnan(value(name, zeros, MASK)), name
    assert np.isnan(complexity.gini(jnp.asarray(zeros)))
    assert float(complexity.gini(jnp.asarray(ones))) == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(complexity.effective_complexity(jnp.asarray(zeros)))
    assert float(complexity.effective_complexity(jnp.asarray(ones))) == 1.0
    assert float(complexity.map_entropy(jnp.asarray(ones))) == pytest.approx(np.log(64), rel=1e-5)


def test_a_map_of_nan_is_undefined_everywhere():
    nan = np.full(MASK.shape, np.nan)
    for name in AGAINST_MASK:
        assert np.isnan(value(name, nan, MASK)), name


def test_a_mask_of_one_pixel():
    mask = np.zeros_like(MASK)
    mask[4, 4] = True
    map = np.random.default_rng(2).uniform(size=MASK.shape)
    map[4, 4] = 2.0
    for name in ("pointing_game", "relevance_rank_accuracy", "iou_at_matched_area", "auroc", "average_precision"):
        assert value(name, map, mask) == 1.0, name


def test_pointing_near_the_mask_is_a_matter_of_tolerance():
    map = np.zeros(MASK.shape)
    map[5, 4] = 1.0  # two pixels below the mask's last row
    assert [value("pointing_game", map, MASK, tolerance_px=t) for t in (0, 1, 2)] == [0.0, 0.0, 1.0]


def test_one_of_several_maxima_is_enough_and_ranks_break_ties_by_position():
    map = np.zeros(MASK.shape)
    map[0, 0] = map[2, 3] = 1.0
    assert value("pointing_game", map, MASK) == 1.0
    assert value("top_k_intersection", map, MASK, k=1) == 0.0
    assert value("top_k_intersection", map, MASK, k=2) == 0.5


@settings(max_examples=60, deadline=None)
@given(
    levels=st.lists(st.integers(0, 5), min_size=16, max_size=16),
    inside=st.lists(st.booleans(), min_size=16, max_size=16).filter(lambda bits: any(bits) and not all(bits)),
)
def test_rankings_with_ties_agree_with_scikit_learn(levels, inside):
    map, mask = jnp.asarray(levels, jnp.float32).reshape(4, 4), jnp.asarray(inside).reshape(4, 4)
    assert float(AUROC(map, mask)) == pytest.approx(roc_auc_score(inside, levels), abs=1e-6)
    assert float(PRECISION(map, mask)) == pytest.approx(average_precision_score(inside, levels), abs=1e-6)


AUROC, PRECISION = jax.jit(ranking.auroc), jax.jit(ranking.average_precision)


@settings(max_examples=30, deadline=None)
@given(levels=st.lists(st.integers(0, 255), min_size=64, max_size=64).filter(lambda levels: len(set(levels)) > 1))
def test_otsu_parts_the_pixels_as_scikit_image_does(levels):
    map = np.asarray(levels, np.float32).reshape(8, 8)
    scaled = (map - map.min()) / (map.max() - map.min())

    def between(threshold):
        return np.var([scaled[scaled > threshold].mean(), scaled[scaled <= threshold].mean()]) * (
            (scaled > threshold).mean() * (scaled <= threshold).mean()
        )

    ours, theirs = float(OTSU(scaled)), threshold_otsu(scaled)
    assert ours == pytest.approx(theirs, abs=1e-6) or between(ours) == pytest.approx(between(theirs), rel=1e-2)


OTSU = jax.jit(overlap.otsu)


def test_disjoint_regions_share_the_whole_mass():
    regions = np.stack([MASK, ~MASK, np.zeros_like(MASK)], axis=-1)
    map = jnp.asarray(np.random.default_rng(3).uniform(size=MASK.shape))
    mass = np.asarray(localisation.region_mass(map, regions))
    assert mass[:2].sum() == pytest.approx(1.0, rel=1e-5)
    assert np.isnan(mass[2])
