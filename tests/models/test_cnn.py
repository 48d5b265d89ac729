"""Convolutional networks: equal to timm's, honest about their statistics, and open to be looked into."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.config import Model
from spermjax.errors import DataError
from spermjax.models.attention.contract import ATTENTION, FEATURES, PERTURBATIONS
from spermjax.models.build import build_model, init_variables
from spermjax.models.cnn.cbam import Cbam
from spermjax.models.pretrained import load_weights

IMAGES = jax.random.uniform(jax.random.key(0), (4, 32, 32, 3))


@pytest.mark.parametrize("cbam", ["none", "last", "blocks"])
def test_what_a_network_shows(cbam):
    model = build_model(Model(name="simple_cnn", cbam=cbam), 3)
    variables = init_variables(model, jax.random.key(0), 32)
    logits, captured = jax.jit(lambda v, x: model.apply(v, x, mutable=[ATTENTION, FEATURES]))(variables, IMAGES)
    assert captured[FEATURES]["map"].shape == (4, 2, 2, 256)
    np.testing.assert_allclose(captured[FEATURES]["pooled"], captured[FEATURES]["map"].mean((1, 2)), rtol=1e-5)
    head = variables["params"]["head"]
    np.testing.assert_allclose(captured[FEATURES]["pooled"] @ head["kernel"] + head["bias"], logits, atol=1e-5)
    names = {"none": [], "last": ["cbam"], "blocks": [f"cbam_{layer}" for layer in range(4)]}[cbam]
    assert sorted(captured.get(ATTENTION, {})) == names
    for name in names:
        of = captured[ATTENTION][name]
        assert of["channel"].ndim == 2
        assert of["spatial"].ndim == 3
        assert all(((values > 0) & (values < 1)).all() for values in of.values())


def test_an_image_normalised_by_itself_is_nearly_the_same_in_any_light():
    config = Model(name="simple_cnn", normalise="image")
    variables = init_variables(build_model(config, 3), jax.random.key(0), 32)

    def moved(config):
        apply = jax.jit(build_model(config, 3).apply)
        bright, dark = (apply(variables, images) for images in (IMAGES, 0.5 * IMAGES + 0.1))
        return jnp.linalg.norm(bright - dark) / jnp.linalg.norm(bright)

    assert moved(config) < 0.05
    assert moved(Model(name="simple_cnn")) > 0.2


def test_cbam_gradients_through_perturbations_equal_finite_differences():
    model, x = Cbam(reduction=2), jax.random.normal(jax.random.key(1), (2, 5, 5, 8))
    params = model.init(jax.random.key(0), x)["params"]
    _, captured = model.apply({"params": params}, x, mutable=[ATTENTION])
    zeros = jax.tree.map(jnp.zeros_like, captured[ATTENTION])

    def total(perturbations):
        return (model.apply({"params": params, PERTURBATIONS: perturbations}, x) ** 2).sum()

    gradients = jax.grad(total)(zeros)
    rng = np.random.default_rng(0)
    for name in ("channel", "spatial"):
        direction = rng.normal(size=zeros[name].shape).astype(np.float32)
        ends = [float(total({**zeros, name: size * direction})) for size in (1e-2, -1e-2)]
        np.testing.assert_allclose((gradients[name] * direction).sum(), (ends[0] - ends[1]) / 2e-2, rtol=2e-2)


@pytest.mark.multidevice
def test_statistics_and_gradients_do_not_depend_on_the_number_of_devices():
    """Witness: one device on the whole batch."""
    config = Model(name="simple_cnn", cbam="last")
    variables = init_variables(build_model(config, 3), jax.random.key(0), 32)

    def gradient(axis_name):
        model = build_model(config, 3, axis_name)

        def loss(params, images):
            logits, mutated = model.apply({**variables, "params": params}, images, train=True, mutable=["batch_stats"])
            return (logits**2).sum(), mutated

        def of(images):
            (_, mutated), gradients = jax.value_and_grad(loss, has_aux=True)(variables["params"], images)
            return mutated, gradients if axis_name is None else jax.lax.psum(gradients, axis_name)

        return of

    expected = jax.jit(gradient(None))(IMAGES)
    actual = jax.pmap(gradient("batch"), axis_name="batch", out_axes=None, devices=jax.devices()[:4])(IMAGES[:, None])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max() + 1e-6), actual, expected
    )


def test_cbam_equals_the_paper_in_pytorch():
    """Witness: eqs. 2 and 3 of Woo et al. 2018 written in PyTorch."""
    torch = pytest.importorskip("torch")
    model, x = Cbam(reduction=4), np.random.default_rng(0).normal(size=(2, 6, 5, 16)).astype(np.float32)
    params = model.init(jax.random.key(0), x)["params"]
    hidden, out, conv = (
        torch.tensor(np.asarray(params[name]["kernel"])) for name in ("channel_hidden", "channel_out", "spatial_conv")
    )
    f = torch.tensor(x.transpose(0, 3, 1, 2))
    mlp = [torch.relu(pooled @ hidden) @ out for pooled in (f.mean((2, 3)), f.amax((2, 3)))]
    f = f * torch.sigmoid(mlp[0] + mlp[1])[:, :, None, None]
    planes = torch.stack([f.mean(1), f.amax(1)], dim=1)
    f = f * torch.sigmoid(torch.nn.functional.conv2d(planes, conv.permute(3, 2, 0, 1), padding=3))
    np.testing.assert_allclose(model.apply({"params": params}, x), f.numpy().transpose(0, 2, 3, 1), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reference"),
    [("efficientnet_b0", "efficientnet_b0"), ("efficientnet_lite0", "tf_efficientnet_lite0"), ("resnet50", "resnet50")],
)
def test_networks_equal_timm(tmp_path, name, reference):
    """Witness: timm in PyTorch, random weights and random running statistics, through safetensors."""
    timm, torch = pytest.importorskip("timm"), pytest.importorskip("torch")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    theirs = timm.create_model(reference, pretrained=False, num_classes=5).eval()
    for key, buffer in theirs.named_buffers():
        if key.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif key.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    config = Model(name=name)
    ours = build_model(config, 5)
    shapes = jax.eval_shape(lambda: init_variables(ours, jax.random.key(0), 75))
    variables = load_weights(str(tmp_path / "weights.safetensors"), ours, shapes, 75)
    images = np.random.default_rng(0).uniform(size=(2, 75, 75, 3)).astype(np.float32)
    normal = (images - np.array(ours.mean)) / np.array(ours.std)
    with torch.no_grad():
        expected = theirs(torch.tensor(normal.transpose(0, 3, 1, 2), dtype=torch.float32)).numpy()
    actual = jax.jit(ours.apply)(variables, images)
    np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
def test_lite0_knows_a_cat_and_a_coffee(assets):
    """Witness: ImageNet's classes 285, Egyptian cat, and 967, espresso."""
    from skimage import data, transform

    model = build_model(Model(name="efficientnet_lite0"), 1000)
    shapes = jax.eval_shape(lambda: init_variables(model, jax.random.key(0), 224))
    path = assets / "weights" / "tf_efficientnet_lite0.timm.f16.safetensors"
    variables = load_weights(str(path), model, shapes, 224)
    images = []
    for image in (data.chelsea(), data.coffee()):
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        square = image[top : top + side, left : left + side]
        images.append(transform.resize(square, (224, 224), anti_aliasing=True))
    logits = jax.jit(model.apply)(variables, jnp.asarray(np.stack(images), jnp.float32))
    np.testing.assert_array_equal(logits.argmax(-1), [285, 967])


def test_weights_of_another_network_are_one_clear_error(tmp_path):
    from safetensors.numpy import save_file

    save_file({"blocks.0.attn.qkv.weight": np.zeros((3, 1), np.float32)}, tmp_path / "vit.safetensors")
    model = build_model(Model(name="efficientnet_lite0"), 3)
    shapes = jax.eval_shape(lambda: init_variables(model, jax.random.key(0), 32))
    with pytest.raises(DataError, match="holds no EfficientNet; its parameters are blocks"):
        load_weights(str(tmp_path / "vit.safetensors"), model, shapes, 32)
