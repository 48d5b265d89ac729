"""Sets of values taken away at once. Witness: Quantus, Captum and SaCo's code, through the numbers in `golden/`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.interpret.metrics import similarity, subsets
from spermjax.interpret.model import FunctionModel, probability, select
from tests.interpret.as_quantus import GROUP, by_feature, by_value, darkest
from tests.interpret.support import stored

pytestmark = pytest.mark.golden


def fall_and_sums(model, images, flat, removed, **options):
    """Fall of the logit without each set of values, and the attributions' sum over it."""
    run = jax.jit(
        lambda x, r: subsets.drops(by_feature(model), {}, x, model.targets, r, images.shape[1:3], **options),
    )
    fell = run(images, jnp.asarray(removed))
    return np.asarray(fell), np.asarray(subsets.attributed(jnp.asarray(flat[..., None], jnp.float32), removed))


def test_infidelity_of_quantus(case):
    """Blocks are blackened one after another; what is removed so far is the perturbation."""
    model, expected, gradients = case
    rows, columns = model.model.attention_spec(model.images.shape[1:3]).grid
    height, width = model.images.shape[1:3]
    block = (np.arange(height) * rows // height)[:, None] * columns + np.arange(width) * columns // width
    until_now = np.broadcast_to(block, (3, height, width)).reshape(-1) <= np.arange(rows * columns)[:, None]
    images, flat, _ = by_value(model.images, gradients)
    removed = np.repeat(until_now[:, None], len(images), axis=1)
    change = (np.asarray(images - darkest(images)) / model.model.std[0]).reshape(flat.shape)
    fell, sums = fall_and_sums(model, images, flat * change, removed, replacement=darkest(images))
    value = subsets.infidelity_of(jnp.asarray(sums), jnp.asarray(fell), scaled=False)
    np.testing.assert_allclose(value, expected["quantus.Infidelity[ig_signed_chw,ps=8,n=1,black,logit]"], rtol=1e-4)


def test_iterative_removal_of_features(case):
    """IROF on the reference's segments, each painted with the mean of the image as it is then."""
    model, expected, _ = case
    maps, segments = expected["chefer_bilinear32"], expected["irof_slic_segments"]
    counts = [len(np.unique(each)) for each in segments]
    means = [[each[own == s].mean() for s in np.unique(own)] for each, own in zip(maps, segments, strict=True)]
    place = np.full(segments.shape, -1)
    for example, own in enumerate(segments):
        for rank, s in enumerate(np.argsort(-np.array(means[example]))):
            place[example][own == np.unique(own)[s]] = rank
    left, paint = np.array(model.images), np.zeros(model.images.shape, np.float32)
    for step in range(max(counts)):
        now = (place == step)[..., None]
        paint = np.where(now, left.mean(axis=(1, 2, 3), keepdims=True), paint)
        left = np.where(now, paint, left)
    until_now = place.reshape(len(place), -1) <= np.arange(max(counts))[:, None, None]
    plain = FunctionModel(lambda x: model.model.apply(model.variables, x))
    options = {"replacement": jnp.asarray(paint), "kind": "single_label"}
    fell = jax.jit(
        lambda x: subsets.drops(plain, {}, x, model.targets, jnp.asarray(until_now), x.shape[1:3], **options)
    )(model.images)
    clean = probability(model.model.apply(model.variables, model.images), model.targets)
    shares = np.asarray(1 - fell / clean)
    value = [count - np.trapezoid(shares[:count, example]) for example, count in enumerate(counts)]
    np.testing.assert_allclose(value, stored(expected, "quantus.IROF"), rtol=1e-4)


def test_saco(case):
    model, expected, _ = case
    scores = jnp.asarray(model.maps["own:chefer2021b"], jnp.float32)
    arguments = {"model": model.model, "variables": model.variables, "images": model.images, "targets": model.targets}
    groups = expected["saco_group_salience"].shape[1]
    value = jax.jit(lambda s: subsets.saco(patch_scores=s, replacement="mean", groups=groups, **arguments))(scores)
    np.testing.assert_allclose(value, expected[f"ref:SaCo_K{groups}_mean[chefer]"], atol=1e-4)
    ours = subsets.order_agreement(jnp.asarray(expected["saco_group_salience"].T), expected["saco_group_drop"].T)
    np.testing.assert_allclose(ours, expected[f"ref:SaCo_K{groups}_mean[chefer]"], atol=1e-5)


def test_faithfulness_estimate(case):
    """Groups in the order of the map, each blackened alone; scores are logits."""
    model, expected, gradients = case
    images, flat, group = by_value(model.images, np.abs(gradients))
    removed = group == np.arange(group.max() + 1)[:, None, None]
    fell, sums = fall_and_sums(model, images, flat, removed, replacement=darkest(images))
    reference = expected[f"quantus.FaithfulnessEstimate[ig_abs_chw,fis={GROUP}]"]
    np.testing.assert_allclose(similarity.pearson(sums.T, fell.T), reference, atol=1e-5)


def as_quantus_draws(sets, features):
    """The stored sets are those of its seed alone; it draws a number for each image, too, before it blackens a set."""
    runs, images, size = sets.shape
    for seed in range(2**16):
        random = np.random.RandomState(seed)
        if (random.choice(features, size, replace=False) == sets[0, 0]).all():
            break
    else:
        return sets
    random = np.random.RandomState(seed)
    drawn = np.empty_like(sets)
    for run in range(runs):
        drawn[run] = [random.choice(features, size, replace=False) for _ in range(images)]
        random.uniform(size=images)
    return drawn


def test_faithfulness_correlation(case):
    """Random sets of values, each blackened alone."""
    model, expected, gradients = case
    images, flat, _ = by_value(model.images, gradients)
    drawn = as_quantus_draws(stored(expected, "faithcorr_subsets").astype(np.int64), flat.shape[1])
    removed = np.zeros((*drawn.shape[:2], flat.shape[1]), bool)
    np.put_along_axis(removed, drawn, True, axis=2)
    fell, sums = fall_and_sums(model, images, flat, removed, replacement=darkest(images))
    reference = stored(expected, "quantus.FaithfulnessCorrelation")
    np.testing.assert_allclose(similarity.pearson(sums.T, fell.T), reference, atol=1e-5)


def test_sensitivity_n(case):
    """Quantus takes away what lies highest, more with each step, and correlates the examples, not the sets.

    Its sums are of the last step alone, where what is taken away is of all steps until now.
    """
    model, expected, gradients = case
    images, flat, group = by_value(model.images, gradients)
    steps = np.arange(model.images[0, ..., 0].size // GROUP)[:, None, None]
    options = {"replacement": darkest(images), "kind": "single_label"}
    fell, _ = fall_and_sums(model, images, flat, group <= steps, **options)
    sums = subsets.attributed(jnp.asarray(flat[..., None], jnp.float32), jnp.asarray(group == steps))
    reference = expected[f"quantus.SensitivityN[ig_signed_chw,fis={GROUP}]"]
    np.testing.assert_allclose(similarity.pearson(sums, jnp.asarray(fell)).mean(), reference[0], atol=1e-5)


@pytest.mark.parametrize("scaled", [False, True])
def test_infidelity(case, perturbations, scaled):
    model, expected, gradients = case
    std = jnp.asarray(model.model.std)
    signed = jnp.moveaxis(jnp.asarray(gradients, jnp.float32), 1, -1)
    score = jax.jit(lambda x: select(model.model.apply(model.variables, x), model.targets))
    fell = jnp.stack([score(model.images) - score(model.images - p * std) for p in perturbations])
    value = subsets.infidelity_of((perturbations * signed).sum((2, 3, 4)), fell, scaled=scaled)
    np.testing.assert_allclose(
        value, expected[f"captum.infidelity[ig,10 stored perturb,normalize={scaled}]"], rtol=1e-3
    )
