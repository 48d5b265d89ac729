"""Properties of the transformer and of its contract."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.errors import ConfigError
from spermjax.models.attention.contract import ATTENTION, FEATURES, PERTURBATIONS
from spermjax.models.positions import sincos_2d
from spermjax.models.stem import patchify
from spermjax.models.vit import ViT

IMAGES = jax.random.uniform(jax.random.key(0), (3, 16, 16, 3))
VARIANTS = [
    {},
    {"pool": "mean"},
    {"registers": 2, "layer_scale": 0.1},
    {"stem": "conv", "positions": "sincos", "patch_size": 8},
]


def build(**options):
    model = ViT(**{"num_outputs": 3, "patch_size": 4, "width": 16, "depth": 2, "heads": 2, **options})
    params = jax.jit(model.init)(jax.random.key(1), IMAGES)["params"]
    # Away from the tiny initial values, so that attention is far from uniform.
    return model, {"params": jax.tree.map(lambda p: p * 4, params)}


@pytest.mark.parametrize("options", VARIANTS)
def test_rows_are_distributions_and_the_contract_is_filled(options):
    model, variables = build(**options)
    logits, captured = model.apply(variables, IMAGES, mutable=[ATTENTION, FEATURES])
    spec = model.attention_spec((16, 16))
    tokens = spec.prefix + spec.grid[0] * spec.grid[1]
    assert logits.shape == (3, 3)
    for layer in range(model.depth):
        weights = captured[ATTENTION][f"block_{layer}"]["attention"]["weights"]
        assert weights.shape == (3, 2, tokens, tokens)
        assert float(weights.min()) >= 0
        np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-5)
    assert captured[FEATURES]["tokens"].shape == (3, tokens, 16)


@pytest.mark.parametrize(("pool", "saves"), [("class_token", True), ("mean", False)])
def test_the_last_block_works_for_tokens_that_are_read_alone(pool, saves):
    """More than half of a block of two is saved; the values are compared in `test_variants`, with and without."""
    model, variables = build(pool=pool)

    def flops(*mutable):
        lowered = jax.jit(lambda x: model.apply(variables, x, mutable=list(mutable))[0]).lower(IMAGES)
        return lowered.cost_analysis()["flops"]

    assert (flops() < 0.75 * flops(FEATURES)) == saves


def test_without_positions_permuted_patches_permute_attention_and_keep_logits():
    model, variables = build()
    variables["params"]["positions"] = jnp.zeros_like(variables["params"]["positions"])
    order = np.random.default_rng(0).permutation(16)
    blocks = IMAGES.reshape(3, 4, 4, 4, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(3, 16, 4, 4, 3)[:, order]
    shuffled = blocks.reshape(3, 4, 4, 4, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(3, 16, 16, 3)
    (logits, before), (permuted, after) = (model.apply(variables, x, mutable=[ATTENTION]) for x in (IMAGES, shuffled))
    np.testing.assert_allclose(permuted, logits, atol=1e-4)
    tokens = np.r_[0, 1 + order]
    weights = [c[ATTENTION]["block_1"]["attention"]["weights"] for c in (before, after)]
    np.testing.assert_allclose(weights[1], weights[0][:, :, tokens][:, :, :, tokens], atol=1e-4)


@pytest.mark.parametrize("options", VARIANTS[:3])
def test_what_a_masked_patch_shows_does_not_matter(options):
    model, variables = build(**options)
    mask = jnp.ones((3, 16), bool).at[:, 5].set(False)
    changed = IMAGES.at[:, 4:8, 4:8].set(0.0)
    np.testing.assert_allclose(model.apply(variables, changed, mask), model.apply(variables, IMAGES, mask), atol=1e-5)
    assert jnp.abs(model.apply(variables, changed) - model.apply(variables, IMAGES)).max() > 1e-3


def test_gradients_through_perturbations_equal_finite_differences():
    """Witness: central differences of a logit as one weight of one layer is raised."""
    model, variables = build()
    _, captured = model.apply(variables, IMAGES, mutable=[ATTENTION])
    zeros = jax.tree.map(jnp.zeros_like, captured[ATTENTION])

    def logit(perturbations):
        return model.apply({**variables, PERTURBATIONS: perturbations}, IMAGES)[:, 1].sum()

    gradients = jax.grad(logit)(zeros)
    rng = np.random.default_rng(0)
    for layer in ("block_0", "block_1"):
        direction = rng.normal(size=zeros[layer]["attention"]["weights"].shape).astype(np.float32)

        def moved(size, layer=layer, direction=direction):
            return logit({**zeros, layer: {"attention": {"weights": size * direction}}})

        expected = (moved(2e-3) - moved(-2e-3)) / 4e-3
        np.testing.assert_allclose((gradients[layer]["attention"]["weights"] * direction).sum(), expected, rtol=1e-2)


def test_bfloat16_agrees_to_its_precision():
    model, variables = build()
    half, _ = build(dtype=jnp.bfloat16)
    logits, low = model.apply(variables, IMAGES), half.apply(variables, IMAGES)
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low, logits, atol=0.05 * float(jnp.abs(logits).max()))
    assert jnp.abs(low - logits).max() > 0


def test_dropout_belongs_to_the_place_in_the_batch():
    model, variables = build(dropout=0.3, stochastic_depth=0.5)
    rngs = {"dropout": jax.random.key(2)}
    whole = model.apply(variables, IMAGES, train=True, rngs=rngs)
    np.testing.assert_allclose(
        model.apply(variables, IMAGES[:2], train=True, rngs=rngs), whole[:2], rtol=1e-4, atol=1e-5
    )
    assert jnp.abs(whole - model.apply(variables, IMAGES)).max() > 1e-3


def test_patchify_is_row_major():
    image = np.arange(2 * 8 * 8 * 3).reshape(2, 8, 8, 3)
    patches = patchify(image, 4)
    np.testing.assert_array_equal(patches[1, 0, 1], image[1, :4, 4:].reshape(-1))


def test_positions_are_distinct_and_nearer_patches_are_more_alike():
    table = sincos_2d((4, 5), 16)
    similarity = table @ table.T
    assert np.unique(table.round(5), axis=0).shape == table.shape
    assert similarity[0, 1] > similarity[0, 4]
    assert similarity[0, 5] > similarity[0, 15]


@pytest.mark.parametrize(
    "options",
    [
        {"registers": 2},
        {"pool": "mean", "attention": "linear"},
        {"pool": "class_and_mean", "attention": "sparsemax"},
        {"pool": "sequence", "attention": "locality"},
        {"attention": "part_query", "scan": True},
        {"attention": "class_attention", "stem": "conv", "patch_size": 8, "positions": "sincos"},
    ],
)
def test_a_shorter_sequence_gives_what_a_mask_gives(options):
    """Witness: the mask over the whole sequence; with a mask beside `keep`, both leave out."""
    model, variables = build(**options)
    patches = (16 // model.patch_size) ** 2
    order = jax.vmap(lambda key: jax.random.permutation(key, patches))(jax.random.split(jax.random.key(2), 3))
    keep = order[:, : patches // 2]
    kept = jnp.zeros((3, patches), bool).at[jnp.arange(3)[:, None], keep].set(True)
    fewer = kept.at[jnp.arange(3), keep[:, 0]].set(False)
    run = jax.jit(model.apply)
    for mask, beside in ((kept, None), (fewer, fewer)):
        short, whole = run(variables, IMAGES, token_mask=beside, keep=keep), run(variables, IMAGES, token_mask=mask)
        np.testing.assert_allclose(short, whole, rtol=2e-5, atol=1e-4)


def test_attention_that_needs_places_refuses_a_shorter_sequence():
    model = ViT(num_outputs=3, patch_size=4, width=16, depth=1, heads=2, attention="rotary")
    with pytest.raises(ConfigError, match="rotary attention depends on where patches lie"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGES, keep=jnp.zeros((3, 2), int)))


def test_a_class_token_has_logits_without_any_patch():
    model, variables = build(pool="class_and_mean")
    assert np.isfinite(model.apply(variables, IMAGES, token_mask=jnp.zeros((3, 16), bool))).all()
