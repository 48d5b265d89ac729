"""What every attention variant promises, and what each of them says of itself."""

import functools

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict

from spermjax.models.attention import VARIANTS
from spermjax.models.attention.contract import ATTENTION, FEATURES, PERTURBATIONS
from spermjax.models.vit import ViT

ORDER = np.random.default_rng(0).permutation(16)
SMALL_OPTIONS = {"window": {"window": 2}, "performer": {"features": 16}, "class_attention": {"layers": 1}}
START = {"scale": 1.0, "log_scale": 1.5, "temperature": 2.0}

# Without jit, variants share most of what is compiled; and the slow lane has what few changes can break.
COMPILED = [name if name in ("softmax", "window") else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS]


def shuffled(images):
    """The patches of the images in another order."""
    patches = images.reshape(-1, 4, 4, 4, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 16, 4, 4, 3)[:, ORDER]
    return patches.reshape(-1, 4, 4, 4, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 16, 16, 3)


PLAIN = np.float32(np.random.default_rng(1).uniform(size=(2, 16, 16, 3)))
IMAGES = np.concatenate([PLAIN, shuffled(PLAIN)])


def build(name, **changes):
    """A small transformer without positions."""
    return ViT(
        **{
            "num_outputs": 3,
            "patch_size": 4,
            "width": 16,
            "depth": 2,
            "heads": 2,
            "registers": 1,
            "positions": "none",
            "attention": name,
            "attention_options": FrozenDict(SMALL_OPTIONS.get(name, {})),
            **changes,
        }
    )


@functools.cache
def variables(name):
    """Parameters far from the start, where attention is near uniform and learned gates, maps and scales are inert."""
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        return np.float32(START.get(path[-1].key, 0.0) + 0.2 * rng.normal(size=leaf.shape))

    shapes = jax.eval_shape(lambda: build(name).init(jax.random.key(0), IMAGES))
    return {"params": jax.tree_util.tree_map_with_path(fill, shapes["params"])}


@functools.cache
def captured(name, **changes):
    """Logits and captures of all images."""
    logits, collections = build(name, **changes).apply(variables(name), IMAGES, mutable=[ATTENTION, FEATURES])
    return jax.device_get({"logits": logits, **collections})


def close(actual, expected, tolerance=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=tolerance), actual, expected)


@pytest.fixture(params=list(VARIANTS))
def name(request):
    return request.param


def test_rows_are_distributions_where_it_says_so(name):
    spec = build(name).attention_spec((16, 16))
    layers = jax.tree.leaves(captured(name)[ATTENTION])
    tokens = spec.prefix + 16
    for layer in layers:
        assert layer.shape == (4, 2, tokens, tokens)
        assert np.isfinite(layer).all()
    weights = np.stack(layers)
    distributions = weights.min() >= 0 and np.allclose(weights.sum(-1), 1.0, atol=1e-5)
    assert distributions == spec.normalised


def test_looking_changes_nothing(name):
    """Linear-time and fused paths give what the captured weights give."""
    close(build(name, fused=True).apply(variables(name), IMAGES), captured(name)["logits"])


def test_without_positions_permuted_patches_permute_attention_and_keep_logits(name):
    prefix = build(name).attention_spec((16, 16)).prefix
    tokens = np.r_[np.arange(prefix), prefix + ORDER]
    plain, permuted = (
        jax.tree.map(lambda leaf, half=half: leaf[half], captured(name)) for half in np.r_[:4].reshape(2, 2)
    )
    assert np.allclose(permuted["logits"], plain["logits"], atol=1e-5) != VARIANTS[name].spatial
    if not VARIANTS[name].spatial:
        moved = jax.tree.map(lambda leaf: leaf[:, :, tokens][:, :, :, tokens], plain[ATTENTION])
        close(permuted[ATTENTION], moved)


def test_left_out_patches_might_as_well_not_be_there(name):
    """Witness: the same model on an image that ends before them."""
    model = build(name)
    kept = jnp.ones((4, 16), bool).at[:, 12:].set(False)
    logits = model.apply(variables(name), IMAGES, kept)
    close(logits, model.apply(variables(name), IMAGES[:, :12]))
    assert np.abs(logits - captured(name)["logits"]).max() > 1e-3


def test_gradients_through_perturbations_equal_finite_differences(name):
    """Witness: central differences along the gradient and a random direction together."""
    model = build(name)

    def logit(perturbations):
        return model.apply({**variables(name), PERTURBATIONS: perturbations}, IMAGES)[:, 1].sum()

    gradient = jax.grad(logit)(jax.tree.map(np.zeros_like, captured(name)[ATTENTION]))
    flat, unflatten = jax.flatten_util.ravel_pytree(gradient)
    noise = np.random.default_rng(0).normal(size=flat.shape)
    direction = np.float32(flat / np.linalg.norm(flat) + noise / np.linalg.norm(noise))
    ends = [logit(unflatten(size * direction)) for size in (1e-2, -1e-2)]
    np.testing.assert_allclose(flat @ direction, (ends[0] - ends[1]) / 2e-2, rtol=1e-2)


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("change", ["scan", "remat"])
def test_scan_and_remat_keep_results_paths_and_captures(name, change):
    close(captured(name, **{change: True}), captured(name))


@pytest.mark.parametrize("name", ["softmax", pytest.param("window", marks=pytest.mark.slow)])
def test_scan_keeps_gradients(name):
    """Of the parameters, and with respect to attention."""

    def gradients(model):
        zeros = jax.tree.map(np.zeros_like, captured(name)[ATTENTION])
        of = jax.grad(lambda v: model.apply(v, IMAGES)[:, 1].sum())
        return of({**variables(name), PERTURBATIONS: zeros})

    expected = gradients(build(name))
    scale = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
    close(gradients(build(name, scan=True, remat=True)), expected, 1e-5 * scale)


@pytest.mark.parametrize("name", COMPILED)
def test_bfloat16_agrees_to_its_precision(name):
    logits = build(name, dtype=jnp.bfloat16).apply(variables(name), IMAGES)
    assert logits.dtype == jnp.float32
    close(logits, captured(name)["logits"], 0.05 * np.abs(captured(name)["logits"]).max())


@pytest.mark.multidevice
@pytest.mark.parametrize("name", COMPILED)
def test_devices_share_the_batch(name):
    model = build(name)
    mapped = jax.pmap(lambda x: model.apply(variables(name), x, mutable=[ATTENTION]), devices=jax.local_devices()[:2])
    logits, collections = jax.tree.map(
        lambda leaf: leaf.reshape(4, *leaf.shape[2:]), mapped(IMAGES.reshape(2, 2, 16, 16, 3))
    )
    close({"logits": logits, **collections}, {key: captured(name)[key] for key in ("logits", ATTENTION)})
