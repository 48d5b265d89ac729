"""Witness: Quantus, scikit-learn and PyTorch, through the numbers in `golden/`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.interpret.grid import class_row, coverage, paint_patches, plane
from spermjax.interpret.metrics import attention, complexity, localisation, overlap, ranking
from spermjax.interpret.metrics.faithfulness import area_under, curve
from spermjax.interpret.model import probability
from tests.interpret.support import close_to_maximum, stored

pytestmark = pytest.mark.golden

METRICS = {
    "ref:quantus.PointingGame": localisation.pointing_game,
    "ref:quantus.RelevanceMassAccuracy": localisation.relevance_mass_accuracy,
    "ref:quantus.RelevanceRankAccuracy": localisation.relevance_rank_accuracy,
    "own:dice[top|mask|]==rank_accuracy": localisation.relevance_rank_accuracy,
    "own:iou[top|mask| pixels, stable]": localisation.iou_at_matched_area,
    "own:energy_pointing_game(relu)": localisation.energy_pointing_game,
    "own:concentration_vs_area = EPG/area_fraction": localisation.enrichment,
    "ref:quantus.TopKIntersection[k=50]": localisation.top_k_intersection,
    "ref:quantus.AttributionLocalisation[default abs=True]": localisation.attribution_localisation,
    "ref:quantus.TopKIntersection[k=50,concept_influence]": lambda a, m: (
        localisation.top_k_intersection(a, m) / m.mean()
    ),
    "ref:quantus.AttributionLocalisation[abs=False]": localisation.relevance_mass_accuracy,
    "ref:quantus.AUC": ranking.auroc,
    "ref:sklearn.iou[mean_of_minmax]": lambda a, m: overlap.iou_and_dice(a, m, jnp.mean)[0],
    "ref:sklearn.dice[mean_of_minmax]": lambda a, m: overlap.iou_and_dice(a, m, jnp.mean)[1],
    "ref:sklearn.iou[0.5_of_minmax]": lambda a, m: overlap.iou_and_dice(a, m, overlap.half)[0],
    "ref:sklearn.dice[0.5_of_minmax]": lambda a, m: overlap.iou_and_dice(a, m, overlap.half)[1],
    "ref:sklearn.iou[otsu_of_minmax]": lambda a, m: overlap.iou_and_dice(a, m, overlap.otsu)[0],
    "ref:sklearn.dice[otsu_of_minmax]": lambda a, m: overlap.iou_and_dice(a, m, overlap.otsu)[1],
    "ref:sklearn.average_precision": ranking.average_precision,
    "ref:sklearn.roc_auc": ranking.auroc,
    "ref:torchray_rule.hit[tolerance=1]": lambda a, m: localisation.pointing_game(a, m, tolerance_px=1),
    "ref:torchray_rule.hit[tolerance=3]": lambda a, m: localisation.pointing_game(a, m, tolerance_px=3),
}
# These references break ties in another order than ours, or look at one of several maxima.
ORDERED_OTHERWISE = {
    "ref:quantus.RelevanceRankAccuracy",
    "ref:quantus.TopKIntersection[k=50]",
    "ref:quantus.TopKIntersection[k=50,concept_influence]",
    "ref:quantus.AUC",
    "ref:torchray_rule.hit[tolerance=1]",
    "ref:torchray_rule.hit[tolerance=3]",
}
# These cut a constant map as if it had a range.
OF_A_RANGE = {key for key in METRICS if "minmax" in key}
OF_THE_MAP = {
    "ref:quantus.Sparseness": complexity.gini,
    "ref:quantus.Complexity": complexity.map_entropy,
    "ref:quantus.EffectiveComplexity[eps=0.1]": lambda a: a.size * complexity.effective_complexity(a, threshold=0.1),
}


@pytest.fixture(scope="module")
def pairs(golden_data):
    pairs = golden_data("pairs.npz")
    return list(pairs["names"]), jnp.asarray(pairs["maps"], jnp.float32), jnp.asarray(pairs["masks"], bool)


@pytest.mark.parametrize("key", METRICS)
def test_localisation(golden_data, pairs, key):
    """An empty mask, which references count as found or as zero, is NaN here."""
    names, maps, masks = pairs
    expected = golden_data("metrics_localisation.json")
    actual = np.asarray(jax.jit(jax.vmap(METRICS[key]))(maps, masks))
    compared = 0
    for name, value, image, mask in zip(names, actual, np.asarray(maps), np.asarray(masks), strict=True):
        reference = expected[name].get(key, "absent")
        constant = image.max() == image.min()
        if not mask.any() or (("hit" in key or key in OF_A_RANGE) and constant):
            assert np.isnan(value), name
        elif reference == "absent" or str(reference).startswith("ERROR"):
            continue
        elif str(reference) == "nan":
            # Shares above one, which signed maps may have.
            assert not value <= 1, name
        elif key not in ORDERED_OTHERWISE or (image == image.max()).sum() == 1:
            np.testing.assert_allclose(value, float(reference), atol=1e-5, err_msg=name)
            compared += 1
    assert compared >= 9


def test_the_first_maximum_is_where_the_reference_points(golden_data, pairs):
    """A mask of that pixel alone is hit; a constant map points nowhere."""
    names, maps, _ = pairs
    expected = golden_data("metrics_localisation.json")
    places = np.array([expected[name]["argmax_yx(first)"] for name in names])
    masks = np.zeros(maps.shape, bool)
    masks[np.arange(len(maps)), places[:, 0], places[:, 1]] = True
    constant = np.asarray(maps.max((1, 2)) == maps.min((1, 2)))
    hits = jax.jit(jax.vmap(localisation.pointing_game))(maps, masks)
    np.testing.assert_array_equal(hits, np.where(constant, np.nan, 1.0))


@pytest.mark.parametrize("key", OF_THE_MAP)
def test_complexity(golden_data, pairs, key):
    names, maps, _ = pairs
    expected = golden_data("metrics_localisation.json")
    actual = np.asarray(jax.jit(jax.vmap(OF_THE_MAP[key]))(maps))
    for name, value in zip(names, actual, strict=True):
        if not str(expected[name][key]).startswith("ERROR"):
            np.testing.assert_allclose(value, expected[name][key], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("replacement", ["drop", "mean", "zero"])
@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_perturbation_curves(golden, golden_data, order, replacement):
    """LeRF is insertion read backwards: what is kept last is what matters most."""
    model, reference = golden("cls"), golden_data("faithfulness_cls.npz")
    expected = reference[f"own:patch_{order}_{replacement}_logits(k=0..16,B,C)"]
    scores = jnp.asarray(model.maps["own:chefer2021b"])
    own = {"drop": "remove", "mean": "mean", "zero": 0.5}[replacement]
    mode = {"morf": "deletion", "lerf": "insertion"}[order]
    run = jax.jit(lambda v, x, s: curve(model.model, v, x, s, mode=mode, replacement=own, chunk=32)[1])
    logits = run(model.variables, model.images, scores)
    close_to_maximum(logits if mode == "deletion" else logits[::-1], expected)
    softmax = np.exp(expected) / np.exp(expected).sum(-1, keepdims=True)
    heights = np.take_along_axis(softmax, model.targets[None, :, None], 2)[..., 0]
    area = area_under(np.linspace(0, 1, len(expected)), jax.vmap(lambda step: probability(step, model.targets))(logits))
    np.testing.assert_allclose(area, np.trapezoid(heights, dx=1 / (len(expected) - 1), axis=0), atol=1e-5)


THRESHOLD_NAMES = {"mean_of_minmax": jnp.mean, "0.5_of_minmax": overlap.half, "otsu_of_minmax": overlap.otsu}


@pytest.mark.parametrize("key", THRESHOLD_NAMES)
def test_thresholds(golden_data, pairs, key):
    """Witness: scikit-image's Otsu."""
    names, maps, _ = pairs
    expected = golden_data("metrics_localisation.json")
    actual = np.asarray(jax.jit(jax.vmap(lambda a: THRESHOLD_NAMES[key](overlap.scaled(a))))(maps))
    for name, value, image in zip(names, actual, np.asarray(maps), strict=True):
        if image.max() > image.min():
            np.testing.assert_allclose(value, expected[name][f"thr[{key}]"], atol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", ["cls", "rand", "reg", "gap"])
def test_attention_statistics(golden, golden_data, name):
    model, expected = golden(name), golden_data("attention_stats.npz")
    weights = jnp.asarray(model.forward["attn"], jnp.float32)
    spec = model.model.attention_spec(model.images.shape[1:3])
    masks = golden_data("batch.npz")["part_masks"].transpose(0, 2, 3, 1).astype(bool)

    patch_px = model.images.shape[1] // spec.grid[0]
    close_to_maximum(attention.patch_distances(spec) * patch_px, expected["patch_distance_px"])
    ours = {
        "mean_distance_px_renorm(L,B,H)": attention.mean_distance(weights, spec) * patch_px,
        "entropy_nats_all_queries(L,B,H)": attention.entropy(weights),
    }
    patches = weights[..., spec.prefix :, spec.prefix :]
    unnormalised = (patches * attention.patch_distances(spec)).sum(axis=-1).mean(axis=-1) * patch_px
    close_to_maximum(unnormalised, expected[f"{name}/mean_distance_px_unnorm(L,B,H)"])
    if spec.reads == "class_token":
        covered = coverage(masks, spec.grid)
        close_to_maximum(
            covered.reshape(len(masks), -1, masks.shape[-1]).swapaxes(1, 2), stored(expected, "patch_fraction")
        )
        ours |= {
            "cls_entropy_nats_patches_renorm(L,B,H)": attention.class_row_entropy(weights, spec),
            "cls_to_prefix_mass(L,B,H)": attention.prefix_mass(weights, spec),
            "part_budget_cls(L,B,H,P)": attention.part_budget(weights, spec, covered),
        }
        rows = class_row(weights, spec)
        shares = paint_patches(
            (rows / rows.sum(-1, keepdims=True)).reshape(-1, rows.shape[-1]), spec.grid, plane(masks)
        )
        shares = shares.reshape(*rows.shape[:-1], *plane(masks)) / patch_px**2
        by_pixel = np.einsum("lbhyx,byxp->lbhp", shares, masks)
        same = np.allclose(by_pixel, ours["part_budget_cls(L,B,H,P)"], atol=1e-6)
        assert same == expected[f"{name}/part_budget_pixelnearest==same"]
    for key, value in ours.items():
        close_to_maximum(value, expected[f"{name}/{key}"])
    mean = golden_data("info.json")[f"attn_entropy_mean/{name}"]
    np.testing.assert_allclose(ours["entropy_nats_all_queries(L,B,H)"].mean(), mean, rtol=1e-5)
