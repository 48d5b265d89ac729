"""Images changed along a map's order. Witness: Quantus, pytorch-grad-cam, RISE, by the numbers in `golden/`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from spermjax.interpret.metrics import confidence, faithfulness, imputation, removal, road
from spermjax.interpret.model import FunctionModel, probability, select
from tests.interpret.as_quantus import GROUP, by_feature, by_value, darkest
from tests.interpret.support import stored

pytestmark = pytest.mark.golden


def curve_of(model, images, scores, targets, *, score=probability, **options):
    run = jax.jit(lambda x, s: faithfulness.curve(model, {}, x, s, chunk=64, **options)[1])
    return jax.vmap(lambda logits: score(logits, targets))(run(images, jnp.asarray(scores, jnp.float32)))


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
