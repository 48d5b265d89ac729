"""Witness: Quantus, pytorch-grad-cam, Captum, RISE's and SaCo's own code, through the numbers in `golden/`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from spermjax.interpret.methods import METHODS
from spermjax.interpret.metrics import (
    confidence,
    faithfulness,
    imputation,
    removal,
    road,
    robustness,
    sanity,
    similarity,
    subsets,
)
from spermjax.interpret.model import FunctionModel, probability, select
from tests.interpret.support import close_to_maximum, stored

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def case(golden, golden_data):
    """The trained model, its reference values, and signed integrated gradients by colour."""
    pixels = golden_data("pixelmaps.npz")
    return golden("cls"), golden_data("faithfulness_cls.npz"), pixels["cls/ref:ig_gausslegendre_50"]


def by_feature(model):
    """The model on images laid out as the references flatten them: colours above each other, one channel."""

    def logits(flat):
        batch, height, width, _ = flat.shape
        return model.model.apply(model.variables, jnp.moveaxis(flat.reshape(batch, 3, height // 3, width), 1, -1))

    return FunctionModel(logits)


def flattened(images):
    return jnp.moveaxis(jnp.asarray(images), -1, 1).reshape(len(images), -1, images.shape[2], 1)


def darkest(images):
    """What Quantus calls black: each image's least intensity."""
    return jnp.broadcast_to(images.min(axis=(1, 2, 3), keepdims=True), images.shape)


def curve_of(model, images, scores, targets, *, score=probability, **options):
    run = jax.jit(lambda x, s: faithfulness.curve(model, {}, x, s, chunk=64, **options)[1])
    return jax.vmap(lambda logits: score(logits, targets))(run(images, jnp.asarray(scores, jnp.float32)))


GROUP = 128
"""Values of all colours that Quantus was told to take in one step."""


def by_value(images, gradients):
    """Images and attributions as Quantus flattens them, and the group of `GROUP` values that each belongs to."""
    flat = np.asarray(gradients).reshape(len(gradients), -1)
    rank = np.argsort(np.argsort(-flat, axis=1, kind="stable"), axis=1, kind="stable")
    return flattened(images), flat, rank // GROUP


def fall_and_sums(model, images, flat, removed, **options):
    """Fall of the logit without each set of values, and the attributions' sum over it."""
    run = jax.jit(
        lambda x, r: subsets.drops(by_feature(model), {}, x, model.targets, r, images.shape[1:3], **options),
    )
    fell = run(images, jnp.asarray(removed))
    return np.asarray(fell), np.asarray(subsets.attributed(jnp.asarray(flat[..., None], jnp.float32), removed))


def own_mean_after_each_step(images, group):
    """What Quantus paints: the mean of the image as it is after the steps before."""
    left, paint = np.array(images).reshape(len(images), -1), np.zeros(group.shape, np.float32)
    for step in range(group.max() + 1):
        now = group == step
        paint = np.where(now, left.mean(axis=1, keepdims=True), paint)
        left = np.where(now, paint, left)
    return jnp.asarray(paint.reshape(images.shape))


@pytest.mark.parametrize(("paint", "score"), [("black", "softmax"), ("mean", "logit")])
def test_pixel_flipping(case, paint, score):
    """After each 128 of all colours' values are painted over."""
    model, expected, gradients = case
    images, flat, group = by_value(model.images, np.abs(gradients))
    heights = curve_of(
        by_feature(model),
        images,
        flat.reshape(images.shape[:3]),
        model.targets,
        mode="deletion",
        replacement=darkest(images) if paint == "black" else own_mean_after_each_step(images, group),
        steps=group.max() + 1,
        score=probability if score == "softmax" else select,
    )
    reference = expected[f"quantus.PixelFlipping[ig_abs_chw,fis={GROUP},{paint},{score}]"]
    np.testing.assert_allclose(heights[1:].T, reference, atol=1e-5 * max(1.0, np.abs(reference).max()))


def test_monotonicity_of_quantus_says_nothing(case):
    """It starts from the baseline and paints the baseline over it, so that no step ever changes anything."""
    model, expected, gradients = case
    images, flat, _ = by_value(model.images, np.abs(gradients))
    value = jax.jit(
        lambda x: faithfulness.monotonicity(
            model=by_feature(model),
            variables={},
            images=darkest(x),
            targets=model.targets,
            patch_scores=jnp.asarray(flat.reshape(images.shape[:3]), jnp.float32),
            replacement=darkest(x),
            steps=24,
        )
    )(images)
    np.testing.assert_array_equal(value, expected[f"quantus.Monotonicity[ig_abs_chw,fis={GROUP}]"])


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


@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_region_perturbation(case, order):
    """Quantus stores the fall of the probability after each patch; Selectivity stores the probability itself."""
    model, expected, _ = case
    maps = expected["chefer_bilinear32"]
    rows, columns = model.model.attention_spec(model.images.shape[1:3]).grid
    scores = maps.reshape(len(maps), rows, -1, columns, maps.shape[2] // columns).mean((2, 4))
    reference = expected[f"quantus.RegionPerturbation[chefer_bilinear,ps=8,{order},black,softmax]"]
    arguments = {
        "model": FunctionModel(lambda x: model.model.apply(model.variables, x)),
        "variables": {},
        "images": model.images,
        "targets": model.targets,
        "patch_scores": jnp.asarray(scores, jnp.float32),
        "replacement": darkest(model.images),
    }
    mode = {"morf": "deletion", "lerf": "insertion"}[order]
    heights = jax.jit(lambda: faithfulness.probabilities(mode=mode, **arguments)[1])()
    heights = heights if mode == "deletion" else heights[::-1]
    np.testing.assert_allclose((heights[0] - heights[1:]).T, reference, atol=1e-5)
    area = jax.jit(lambda: getattr(faithfulness, order)(**arguments))()
    np.testing.assert_allclose(area, reference.mean(1), atol=1e-5)
    if order == "morf":
        selectivity = expected["quantus.Selectivity[chefer_bilinear,ps=8,black,softmax]"]
        np.testing.assert_allclose(heights[1:].T, selectivity, atol=1e-5)


@pytest.mark.parametrize("step", [32, 64])
@pytest.mark.parametrize("name", ["del_zeros", "ins_blur", "ins_zeros"])
def test_insertion_and_deletion_of_pixels(case, name, step):
    """RISE's zero is mid-grey before normalisation; its blur mixes in zeros from beyond the border, ours does not."""
    model, expected, _ = case
    blurred = jnp.moveaxis(jnp.asarray(expected["rise_blurred_images"]), 1, -1) / 2 + 0.5
    pixels = model.images.shape[1] * model.images.shape[2]
    heights = curve_of(
        FunctionModel(lambda x: model.model.apply(model.variables, x)),
        model.images,
        expected["ig_abs"],
        model.targets,
        mode="deletion" if name.startswith("del") else "insertion",
        replacement=blurred if name.endswith("blur") else 0.5,
        steps=pixels // step,
    )
    np.testing.assert_allclose(heights.T, expected[f"rise.{name}_step{step}_curve[ig_abs]"], atol=1e-5)
    area = faithfulness.area_under(np.linspace(0, 1, len(heights)), heights)
    np.testing.assert_allclose(area, expected[f"rise.{name}_step{step}_auc[ig_abs]"], atol=1e-5)


def test_road(case):
    """Imputed images and scores at one percentile each way, without noise."""
    model, expected, _ = case
    maps = jnp.asarray(expected["ig_abs"], jnp.float32)

    @jax.jit
    def removed(percentile, sign):
        imputed = imputation.impute(model.images, road.kept_below(sign * maps, percentile))
        return imputed, select(model.model.apply(model.variables, imputed), model.targets)

    clean = select(model.model.apply(model.variables, model.images), model.targets)
    for order, percentile in (("morf", 20), ("morf", 50), ("morf", 80), ("lerf", 20), ("lerf", 50), ("lerf", 80)):
        imputed, scores = removed(percentile, 1 if order == "morf" else -1)
        reference = expected[f"pgc.ROAD_{order}_p{percentile}_diff[ig_abs minmax]"]
        np.testing.assert_allclose(scores - clean, reference, atol=2e-3 * np.abs(reference).max(), err_msg=order)
        if (order, percentile) == ("morf", 80):
            images = np.moveaxis(expected["pgc.ROAD_morf_p80_imputed_images"], 1, -1) / 2 + 0.5
            np.testing.assert_allclose(imputed, images, atol=1e-5)


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


def test_confidence_in_what_the_map_shows(case):
    """The reference takes differences of logits, not shares of a probability."""
    model, expected, _ = case
    score = jax.jit(lambda x: select(model.model.apply(model.variables, x), model.targets))
    faded = confidence.shown(model.images, jnp.asarray(expected["ig_abs"], jnp.float32))
    change = np.asarray(score(faded) - score(model.images))
    reference = stored(expected, "pgc.CamMultImage_confchange")
    np.testing.assert_allclose(change, reference, atol=1e-5 * np.abs(reference).max())
    np.testing.assert_allclose(
        confidence.fall(score(model.images), score(faded)),
        expected["pgc.DropInConfidence"],
        atol=1e-5 * np.abs(reference).max(),
    )
    np.testing.assert_array_equal(
        confidence.rises(score(model.images), score(faded)), expected["pgc.IncreaseInConfidence"]
    )


def test_blur(case):
    """RISE's kernel folds back the Gaussian's tails that reach beyond it; ours cuts them off."""
    _, expected, _ = case
    reference = expected["rise_gkern11_5_2d"]
    assert reference.shape == (removal.BLUR_SIZE_PX,) * 2
    impulse = np.zeros_like(reference, np.float64)
    impulse[tuple(side // 2 for side in impulse.shape)] = 1.0
    gaussian = functools.partial(scipy.ndimage.gaussian_filter, impulse, removal.BLUR_SIGMA_PX)
    np.testing.assert_allclose(gaussian(mode="reflect"), reference, rtol=1e-5)
    # A border as wide as the kernel, so that repeated pixels are black.
    border = removal.BLUR_SIZE_PX
    ours = removal.blur(jnp.pad(jnp.asarray(impulse, jnp.float32), border)[None, ..., None])
    cut = gaussian(mode="constant")
    np.testing.assert_allclose(ours[0, border:-border, border:-border, 0], cut / cut.sum(), rtol=1e-5)


METHOD_OF = {"chefer": "chefer2021b", "raw_attn": "raw_attention"}


@pytest.mark.parametrize("name", METHOD_OF)
def test_maps_under_cascading_randomisation(case, golden, golden_data, name):
    """Stage by stage the parameters of a second model take the place of the first one's."""
    model, _, _ = case
    kept = golden_data("randomisation_cls_to_rand.npz")
    expected = kept[f"{name}_maps"]
    groups = sanity.stages(model.model, model.variables, model.images)
    of_timm = [str(stage).replace("blocks.", "block_").replace("embed", "stem") for stage in kept["stages"][1:]]
    assert [group[0] for group in groups] == of_timm

    def explain(variables, images, targets, parts):
        return METHODS[METHOD_OF[name]].native(model.model, variables, images, targets)

    run = jax.jit(
        lambda v, r: sanity.randomised_maps(
            explain, v, model.images, model.targets, None, groups, replacement=r["params"]
        )
    )
    maps = run(model.variables, golden("rand").variables)
    for ours, reference in zip(maps, expected[1:], strict=True):
        close_to_maximum(ours, reference, 2e-5)


@pytest.fixture(scope="module")
def perturbations(case):
    """Stored by the reference in normalised units."""
    _, expected, _ = case
    return jnp.moveaxis(jnp.asarray(stored(expected, "stored_perturbations"), jnp.float32), 2, -1)


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


def test_max_sensitivity(case, perturbations):
    """Of signed saliency, under the stored noise cut to .02 in normalised units."""
    model, expected, _ = case
    std = jnp.asarray(model.model.std)
    noise = jnp.clip(perturbations, -0.02, 0.02) * std
    gradient = jax.jit(jax.grad(lambda x: select(model.model.apply(model.variables, x), model.targets).sum()))
    changed = jnp.stack([gradient(model.images + n) for n in noise])
    value = robustness.relative_change(gradient(model.images), changed).max(0)
    reference = expected["captum.sensitivity_max[signed saliency, 10 stored perturb clip .02]"]
    np.testing.assert_allclose(value, reference, rtol=1e-3)


def test_similarity_under_randomisation(golden_data):
    """Spearman, Pearson and SSIM of each cascade stage's map with the original's; NaN where a map is constant."""
    kept = golden_data("randomisation_cls_to_rand.npz")

    @jax.jit
    def compare(maps):
        original = jnp.broadcast_to(maps[0], maps.shape)
        flat = maps.reshape(-1, *maps.shape[2:])
        first = original.reshape(flat.shape)
        by_row = lambda values: values.reshape(len(values), -1)  # noqa: E731
        values = {
            "spearman_vs_original": similarity.spearman(first, flat),
            "spearman_abs": similarity.spearman(jnp.abs(first), jnp.abs(flat)),
            "pearson": similarity.pearson(by_row(first), by_row(flat)),
        }
        return {name: value.reshape(maps.shape[:2]) for name, value in values.items()}

    for method in ("chefer", "gradcam_raw", "raw_attn", "saliency"):
        for name, ours in compare(jnp.asarray(kept[f"{method}_maps"], jnp.float32)).items():
            reference = kept[f"{method}_{name}"]
            defined = np.isfinite(ours) & np.isfinite(reference)
            assert defined.any()
            ours = np.asarray(ours)
            np.testing.assert_allclose(ours[defined], reference[defined], atol=2e-4, err_msg=f"{method} {name}")
    maps = jnp.asarray(kept["saliency_maps"], jnp.float32)
    ours = jax.jit(lambda m: jax.vmap(lambda stage: similarity.ssim(m[0], stage))(m))(maps)
    np.testing.assert_allclose(ours, kept["saliency_ssim_skimage_win7_datarange1_minmax"], atol=1e-4)
    ours = jax.jit(lambda m: jax.vmap(lambda stage: similarity.ssim_gaussian(m[0], stage))(m))(maps)
    np.testing.assert_allclose(ours, kept["saliency_ssim_gaussian1.5_minmax"], atol=1e-4)


def test_structural_similarity_of_quantus(golden_data):
    """It lays the rows of both maps end to end, and compares windows of that line; ours are windows of the image."""
    kept = golden_data("randomisation_cls_to_rand.npz")
    maps = jnp.asarray(kept["saliency_maps"], jnp.float32)
    lines = maps.reshape(*maps.shape[:2], -1)
    window = np.full(similarity.SSIM_WINDOW_PX, 1 / similarity.SSIM_WINDOW_PX)

    def of_lines(first, second):
        low, high = jnp.minimum(first.min(), second.min()), jnp.maximum(first.max(), second.max())
        first, second = (line / (high - low) for line in (first, second))
        return similarity.structural_similarity(first, second, window, sample=True)

    ours = jax.jit(lambda m: jax.vmap(lambda stage: jax.vmap(of_lines)(m[0], stage))(m))(lines)
    np.testing.assert_allclose(ours, kept["saliency_ssim_quantus_flattened1d"], atol=1e-4)
