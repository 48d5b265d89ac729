"""Published weights: what they become in the model, and what is refused."""

import hashlib
import http.server
import json
import struct
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from spermjax.errors import DataError
from spermjax.models.build import init_variables
from spermjax.models.pretrained import load_weights
from spermjax.models.pretrained.adapt import resample_patch, resize_positions
from spermjax.models.vit import ViT
from tests.models.golden import shapes

TINY = {"num_outputs": 3, "patch_size": 4, "width": 16, "depth": 1, "heads": 2, "layer_scale": 0.1}


def timm_weights(size=16, patch=4, channels=3, seed=0):
    """A tiny transformer's weights under timm's names."""
    rng, width = np.random.default_rng(seed), 16
    wanted = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + (size // patch) ** 2, width),
        "patch_embed.proj.weight": (width, channels, patch, patch),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "head.weight": (7, width),
        "head.bias": (7,),
    }
    for name, shape in {
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
        "attn.qkv.weight": (3 * width, width),
        "attn.qkv.bias": (3 * width,),
        "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,),
        "ls1.gamma": (width,),
        "ls2.gamma": (width,),
        "mlp.fc1.weight": (4 * width, width),
        "mlp.fc1.bias": (4 * width,),
        "mlp.fc2.weight": (width, 4 * width),
        "mlp.fc2.bias": (width,),
    }.items():
        wanted[f"blocks.0.{name}"] = shape
    return {name: rng.normal(size=shape).astype(np.float16) for name, shape in wanted.items()}


def stored(tmp_path, weights, name="weights.safetensors"):
    save_file(weights, tmp_path / name)
    return str(tmp_path / name)


def load(source, size=16, **options):
    model = ViT(**{**TINY, **options})
    fresh = init_variables(model, jax.random.key(0), size)
    return model, load_weights(source, model, fresh, size, ("head/.*",)), fresh


def test_a_swapped_head_keeps_its_fresh_values_and_nothing_else_does(tmp_path):
    _, variables, fresh = load(stored(tmp_path, timm_weights()))
    np.testing.assert_array_equal(variables["params"]["head"]["kernel"], fresh["params"]["head"]["kernel"])
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), variables["params"], fresh["params"])
    assert not any(jax.tree.leaves(changed.pop("head")))
    assert all(jax.tree.leaves(changed))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


def test_gray_weights_see_gray_images_as_before(tmp_path):
    """Witness: the same weights with their one channel's projection given to a single colour of three."""
    gray = timm_weights(channels=1)
    single = dict(gray)
    kernel = gray["patch_embed.proj.weight"]
    single["patch_embed.proj.weight"] = np.concatenate([kernel, np.zeros_like(kernel), np.zeros_like(kernel)], axis=1)
    images = jnp.repeat(jax.random.uniform(jax.random.key(1), (2, 16, 16, 1)), 3, axis=-1)
    model, variables, _ = load(stored(tmp_path, gray, "gray.safetensors"))
    _, expected, _ = load(stored(tmp_path, single, "single.safetensors"))
    np.testing.assert_allclose(model.apply(variables, images), model.apply(expected, images), atol=1e-3)


def test_resampled_patches_see_a_resized_image_as_before():
    """Beyer et al. 2023: tokens stay the same when patch and image grow together."""
    rng = np.random.default_rng(0)
    kernel, patch = rng.normal(size=(4, 4, 3, 5)), rng.normal(size=(4, 4, 3))
    larger = np.asarray(jax.image.resize(jnp.asarray(patch, jnp.float32), (8, 8, 3), "bilinear"))
    tokens = [np.einsum("ijc,ijcw->w", image, k) for image, k in ((patch, kernel), (larger, resample_patch(kernel, 8)))]
    np.testing.assert_allclose(tokens[1], tokens[0], rtol=1e-3, atol=1e-4)


def test_positions_of_other_grids_and_prefixes():
    rng = np.random.default_rng(0)
    given = rng.normal(size=(1 + 36, 8)).astype(np.float32)
    np.testing.assert_array_equal(resize_positions(given, 1, (6, 6)), given)
    resized = resize_positions(given, 1, (3, 5))
    assert resized.shape == (16, 8)
    np.testing.assert_array_equal(resized[0], given[0])
    with_registers = resize_positions(given, 5, (6, 6))
    np.testing.assert_array_equal(with_registers[1:5], 0)
    np.testing.assert_array_equal(with_registers[5:], given[1:])
    np.testing.assert_array_equal(resize_positions(given[1:], 1, (6, 6))[1:], given[1:])


@pytest.mark.parametrize("grid", [(9, 9), (16, 16), (50, 41)])
def test_positions_are_resized_as_timm_does(grid):
    """Witness: timm's resample_abs_pos_embed in PyTorch."""
    torch = pytest.importorskip("torch")
    from timm.layers import resample_abs_pos_embed

    given = np.random.default_rng(0).normal(size=(1 + 37 * 37, 6)).astype(np.float32)
    expected = resample_abs_pos_embed(torch.tensor(given[None]), list(grid), num_prefix_tokens=1)[0].numpy()
    np.testing.assert_allclose(resize_positions(given, 1, grid), expected, atol=1e-5 * np.abs(expected).max())


def test_dinov2_equals_timm(assets):
    """Witness: timm's vit_small_patch14_dinov2 with the same file, class token and mean patch."""
    timm, torch = pytest.importorskip("timm"), pytest.importorskip("torch")
    from safetensors.torch import load_file

    from spermjax.config import Model
    from spermjax.models.build import build_model

    path = assets / "weights" / "dinov2_vits14.timm.f16.safetensors"
    reference = timm.create_model("vit_small_patch14_dinov2", pretrained=False, img_size=518, dynamic_img_size=True)
    reference.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    images = np.random.default_rng(0).uniform(size=(2, 126, 126, 3)).astype(np.float32)
    normal = (images - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    with torch.no_grad():
        tokens = reference.eval().forward_features(torch.tensor(normal.transpose(0, 3, 1, 2), dtype=torch.float32))
    expected = np.concatenate([tokens[:, 0].numpy(), tokens[:, 1:].mean(1).numpy()], axis=1)
    model = build_model(Model(name="dinov2_vits14", pool="class_and_mean"), 4)
    fresh = init_variables(model, jax.random.key(0), 126)
    variables = load_weights(str(path), model, fresh, 126, ("head/.*",))
    _, captured = jax.jit(lambda v, x: model.apply(v, x, mutable=["features"]))(variables, images)
    actual = captured["features"]["pooled"]
    np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.golden
def test_weights_of_another_size_are_refused_by_name(assets):
    model = ViT(num_outputs=3, patch_size=8, width=48, depth=2, heads=4, mlp_dim=96)
    with pytest.raises(DataError, match=r"left over: block_2/attention/out/bias[\s\S]*shape: head/bias is \(4,\)"):
        load_weights(str(assets / "golden" / "weights" / "cls.timm.safetensors"), model, shapes(model, 32), 32)


def test_a_missing_parameter_is_named(tmp_path):
    weights = timm_weights()
    del weights["norm.bias"]
    with pytest.raises(DataError, match=r"missing: norm/bias \(16,\)"):
        load(stored(tmp_path, weights))


def test_another_architecture_is_one_clear_error(tmp_path):
    names = {f"layer1.{i}.conv1.weight": np.zeros((1,), np.float32) for i in range(9)}
    with pytest.raises(DataError, match=r"holds no ViT; its parameters are layer1\.0\.conv1\.weight"):
        load(stored(tmp_path, names))


def hostile(header: dict, data=b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 64,
        b"PK\x03\x04 and then nothing",
        struct.pack("<Q", 2**62) + b"{}",
        hostile({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
        hostile({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}, b"\0" * 8),
        hostile({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4),
        hostile({"a": {"dtype": "pickle", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth"])
def test_damaged_or_hostile_weight_files(tmp_path, content, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match="weights"):
        load(str(path))


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.npz"])
def test_truncated_files(tmp_path, name):
    path = tmp_path / name
    if name.endswith("npz"):
        np.savez(path, **timm_weights())
    else:
        stored(tmp_path, timm_weights())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="can't be read"):
        load(str(path))


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "evil.npz", params=np.array([print], dtype=object))
    with pytest.raises(DataError, match="can't be read"):
        load(str(tmp_path / "evil.npz"))


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The folder `served` over HTTP, and a cache of its own."""
    monkeypatch.setenv("SPERMJAX_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{serving.server_port}/weights.safetensors"
        serving.shutdown()


def test_an_address_is_fetched_once_and_checked(server, tmp_path):
    folder, address = server
    path = stored(folder, timm_weights())
    content = (folder / "weights.safetensors").read_bytes()
    pinned = f"{address}#sha256={hashlib.sha256(content).hexdigest()}"
    _, expected, _ = load(path)
    jax.tree.map(np.testing.assert_array_equal, load(pinned)[1], expected)
    (folder / "weights.safetensors").unlink()
    jax.tree.map(np.testing.assert_array_equal, load(pinned)[1], expected)
    (folder / "weights.safetensors").write_bytes(content[:-1] + b"?")
    wrong = f"{address}#sha256={'0' * 64}"
    with pytest.raises(DataError, match="holds other bytes"):
        load(wrong)
    with pytest.raises(DataError, match="needs the checksum"):
        load(address)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(DataError, match=r"can't be fetched.*--model\.weights FILE"):
        load(wrong)
