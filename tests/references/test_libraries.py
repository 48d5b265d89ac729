"""The libraries themselves, on one transformer with random weights: `make test-references` installs and asks them.

Witness: Captum, pytorch-grad-cam and Quantus, each as it is installed; the numbers that
the ordinary tests compare with were made by them once.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.interpret import METHODS, METRICS, FunctionModel
from spermjax.models.build import init_variables
from spermjax.models.pretrained import load_weights
from spermjax.models.vit import ViT
from tests.interpret.support import close_to_maximum
from tests.interpret.test_golden_cam import enlarged

torch = pytest.importorskip("torch", reason="make test-references")
timm = pytest.importorskip("timm", reason="make test-references")
captum = pytest.importorskip("captum.attr", reason="make test-references")
grad_cam = pytest.importorskip("pytorch_grad_cam", reason="make test-references")
quantus = pytest.importorskip("quantus", reason="make test-references")

SIDE, PATCH, OUTPUTS = 32, 8, 3
TARGETS = [0, 2]
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(len(TARGETS), SIDE, SIDE, 3)).astype(np.float32)
NORMALISED = np.ascontiguousarray(np.moveaxis((IMAGES - 0.5) / 0.5, 3, 1))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """One transformer in PyTorch and in Flax."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    sizes = {"img_size": SIDE, "patch_size": PATCH, "embed_dim": 32, "depth": 2, "num_heads": 4}
    theirs = timm.models.VisionTransformer(num_classes=OUTPUTS, **sizes).eval()
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file({name: value.contiguous() for name, value in theirs.state_dict().items()}, path)
    ours = ViT(num_outputs=OUTPUTS, patch_size=PATCH, width=32, depth=2, heads=4)
    shapes = jax.eval_shape(lambda: init_variables(ours, jax.random.key(0), SIDE))
    return theirs, ours, load_weights(str(path), ours, shapes, SIDE)


def native(pair, name, **options):
    """Our map, as the method itself gives it."""
    run = jax.jit(lambda v, x, t: METHODS[name].native(pair[1], v, x, t, **options))
    return np.asarray(run(pair[2], IMAGES, np.array(TARGETS)))


def of_captum(attribution):
    """Colours last."""
    return np.moveaxis(attribution.detach().numpy(), 1, 3)


def normalised():
    return torch.from_numpy(NORMALISED.copy())


def test_gradients_of_captum(pair):
    """A unit of intensity is two of what PyTorch's model reads."""
    slope = of_captum(captum.Saliency(pair[0]).attribute(normalised(), target=TARGETS))
    close_to_maximum(native(pair, "saliency") / 2, slope.max(axis=-1), 1e-4)
    product = of_captum(captum.InputXGradient(pair[0]).attribute(normalised(), target=TARGETS))
    close_to_maximum(native(pair, "input_x_gradient"), product.sum(axis=-1), 1e-4)


def test_integrated_gradients_of_captum(pair):
    expected = captum.IntegratedGradients(pair[0]).attribute(normalised(), target=TARGETS, n_steps=20)
    close_to_maximum(native(pair, "integrated_gradients", steps=20), of_captum(expected).sum(axis=-1), 1e-4)


def test_occlusion_of_captum(pair):
    window = (3, PATCH, PATCH)
    expected = captum.Occlusion(pair[0]).attribute(normalised(), window, strides=window, target=TARGETS)
    close_to_maximum(native(pair, "occlusion", window_px=PATCH), of_captum(expected)[..., 0], 1e-4)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("grad_cam", "GradCAM"), ("hires_cam", "HiResCAM"), ("layer_cam", "LayerCAM"), ("xgrad_cam", "XGradCAM")],
)
def test_class_activation_maps(pair, name, kind):
    """As the reference shows maps: negative values cut, stretched to [0, 1] before and after enlarging."""

    def reshape(tokens):
        return tokens[:, 1:].reshape(len(tokens), SIDE // PATCH, SIDE // PATCH, -1).permute(0, 3, 1, 2)

    explainer = getattr(grad_cam, kind)(pair[0], [pair[0].blocks[-1].norm1], reshape_transform=reshape)
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    expected = explainer(normalised(), [ClassifierOutputTarget(target) for target in TARGETS])
    np.testing.assert_allclose(enlarged(native(pair, name), (SIDE, SIDE)), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("pointing_game", "PointingGame"),
        ("attribution_localisation", "AttributionLocalisation"),
        ("relevance_mass_accuracy", "RelevanceMassAccuracy"),
        ("relevance_rank_accuracy", "RelevanceRankAccuracy"),
        ("top_k_intersection", "TopKIntersection"),
        ("auroc", "AUC"),
    ],
)
def test_localisation_of_quantus(pair, name, kind):
    maps = RNG.uniform(0.01, 1, (8, SIDE, SIDE)).astype(np.float32)
    masks = RNG.uniform(size=(8, 4, 4)).repeat(8, axis=1).repeat(8, axis=2) < 0.4
    options = {"k": 50} if name == "top_k_intersection" else {}
    metric = getattr(quantus, kind)(disable_warnings=True, display_progressbar=False, **options)
    images = np.zeros((8, 3, SIDE, SIDE), np.float32)
    expected = metric(pair[0], images, np.zeros(8, int), a_batch=maps[:, None], s_batch=masks[:, None], device="cpu")
    actual = METRICS[name].function(map=maps, mask=masks)
    np.testing.assert_allclose(actual, np.array(expected, float).reshape(-1), rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("faithfulness_estimate", "FaithfulnessEstimate"), ("monotonicity_correlation", "MonotonicityCorrelation")],
)
def test_faithfulness_of_quantus(pair, name, kind):
    """Each colour of each patch blackened alone: steps of as many values as a patch has, in the order of a map."""
    grid = (3 * SIDE // PATCH, SIDE // PATCH)
    scores = RNG.uniform(size=(len(TARGETS), *grid)).astype(np.float32)
    pixels = scores.repeat(PATCH, 1).repeat(PATCH, 2).reshape(NORMALISED.shape)
    options = {"nr_samples": 1} if name == "monotonicity_correlation" else {}
    options |= {"features_in_step": PATCH**2, "perturb_baseline": "black"}
    metric = getattr(quantus, kind)(disable_warnings=True, display_progressbar=False, **options)
    expected = metric(pair[0], NORMALISED, np.array(TARGETS), a_batch=pixels, device="cpu", softmax=False)

    def logits(colours):
        return pair[1].apply(pair[2], jnp.moveaxis(colours.reshape(len(colours), 3, SIDE, SIDE), 1, 3))

    colours = jnp.asarray(np.moveaxis(IMAGES, 3, 1).reshape(len(TARGETS), 3 * SIDE, SIDE, 1))
    black = jnp.broadcast_to(colours.min(axis=(1, 2), keepdims=True), colours.shape)
    arguments = {"images": colours, "targets": jnp.array(TARGETS), "patch_scores": jnp.asarray(scores)}
    actual = METRICS[name].function(model=FunctionModel(logits), variables={}, replacement=black, **arguments)
    np.testing.assert_allclose(actual, np.array(expected, float), atol=1e-3)
