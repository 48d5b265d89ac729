"""Witness: Quantus, scikit-learn and PyTorch, through the numbers in `golden/`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.interpret.metrics import complexity, localisation, ranking
from spermjax.interpret.metrics.faithfulness import area_under, curve
from spermjax.interpret.model import probability
from tests.interpret.support import close_to_maximum

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
    "ref:sklearn.average_precision": ranking.average_precision,
    "ref:sklearn.roc_auc": ranking.auroc,
    "ref:torchray_rule.hit[tolerance=1]": lambda a, m: localisation.pointing_game(a, m, tolerance_px=1),
    "ref:torchray_rule.hit[tolerance=3]": lambda a, m: localisation.pointing_game(a, m, tolerance_px=3),
}
# These references break ties in another order than ours, or look at one of several maxima.
ORDERED_OTHERWISE = {
    "ref:quantus.RelevanceRankAccuracy",
    "ref:quantus.TopKIntersection[k=50]",
    "ref:torchray_rule.hit[tolerance=1]",
    "ref:torchray_rule.hit[tolerance=3]",
}
OF_THE_MAP = {"ref:quantus.Sparseness": complexity.gini, "ref:quantus.Complexity": complexity.map_entropy}


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
        if not mask.any() or ("hit" in key and image.max() == image.min()):
            assert np.isnan(value), name
        elif reference == "absent" or str(reference).startswith("ERROR"):
            continue
        elif key not in ORDERED_OTHERWISE or (image == image.max()).sum() == 1:
            np.testing.assert_allclose(value, float(reference), atol=1e-5, err_msg=name)
            compared += 1
    assert compared >= 9


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
