"""Maps under other parameters and noise. Witness: Captum, Quantus and scikit-image, by the numbers in `golden/`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.interpret.methods import METHODS
from spermjax.interpret.metrics import robustness, sanity, similarity
from spermjax.interpret.model import select
from tests.interpret.support import close_to_maximum

pytestmark = pytest.mark.golden

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
