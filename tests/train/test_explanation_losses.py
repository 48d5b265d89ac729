"""Witness: PyTorch's gradients and the papers' formulas, through `golden/`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from spermjax.interpret import METHODS
from spermjax.interpret.capture import capture_with_gradients
from spermjax.interpret.grid import upsample
from spermjax.interpret.methods.propagate import add_identity, propagate
from spermjax.interpret.model import attention_spec
from spermjax.models.attention.contract import ATTENTION
from spermjax.train import explanation_losses as losses
from tests.interpret.support import close_to_maximum
from tests.models.golden import images, model_and_variables


@pytest.fixture(scope="module")
def case(assets):
    golden = assets / "golden"
    model, variables = model_and_variables(golden, "cls")
    batch, expected = np.load(golden / "data/batch.npz"), np.load(golden / "data/losses_cls.npz")
    head = batch["part_masks"][:, list(batch["part_names"]).index("head")].astype(bool)
    return model, variables, images(golden), jnp.asarray(batch["label"], jnp.int32), jnp.asarray(head), expected


def _scaled(maps):
    low, high = (reduce(maps, axis=(1, 2), keepdims=True) for reduce in (jnp.min, jnp.max))
    return (maps - low) / (high - low)


def _norm(tree):
    return float(jnp.sqrt(sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(tree))))


def _published_gradient(model, variables, x):
    """The published code adds 1e-11 to a probability before its logarithm; ours takes the log-softmax, without."""

    def total(images):
        return jnp.log(jax.nn.softmax(model.apply(variables, images)) + 1e-11).sum()

    return jax.grad(total)(x)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("key", "gradient_of"),
    [("rrr_logsoftmax", losses.log_probability_gradient), ("rrr_repo_eps1e-11", _published_gradient)],
)
def test_right_for_the_right_reasons(case, key, gradient_of):
    model, variables, x, _, head, expected = case
    std = np.asarray(model.std)

    @jax.jit
    def loss(params):
        gradient = gradient_of(model, {"params": params}, x) * std
        return losses.squared_gradient_outside(gradient, head).sum(), gradient

    (value, gradient), slopes = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    close_to_maximum(gradient, expected[f"{key}/input_grad"].transpose(0, 2, 3, 1), 1e-4)
    np.testing.assert_allclose(value, expected[f"{key}/value"], rtol=1e-4)
    norm = _norm(slopes["block_0"]["attention"]["qkv"]["kernel"])
    np.testing.assert_allclose(norm, expected[f"{key}/grad_norm_qkv0"], rtol=1e-3)
    norm = _norm(slopes["stem"]["projection"]["kernel"])
    np.testing.assert_allclose(norm, expected[f"{key}/grad_norm_patch_embed"], rtol=1e-3)


@pytest.mark.golden
def test_suppression_outside(case):
    model, variables, x, label, head, expected = case

    def loss(params, images):
        logits = model.apply({"params": params}, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()

    @jax.jit
    def suppressed(params):
        gradient = jax.grad(loss, argnums=1)(params, x) * np.asarray(model.std)
        return losses.absolute_gradient_outside(gradient, head).mean()

    value, slopes = jax.value_and_grad(suppressed)(variables["params"])
    np.testing.assert_allclose(value, expected["gals_suppress_outside_l1/value"], rtol=1e-3)
    norm = _norm(slopes["block_0"]["attention"]["qkv"]["kernel"])
    np.testing.assert_allclose(norm, expected["gals_suppress_outside_l1/grad_norm_qkv0"], rtol=1e-3)


@pytest.mark.golden
@pytest.mark.parametrize("sharpness", [8, 10])
def test_attention_mining(case, sharpness):
    model, variables, x, label, _, expected = case
    attention = METHODS["raw_attention"].native(model, variables, x, label)
    side = x.shape[1] // attention.shape[1]
    maps = _scaled(attention).repeat(side, 1).repeat(side, 2)
    mining = jax.jit(functools.partial(losses.attention_mining, model, sharpness=sharpness))
    value = mining(variables, x, model.apply(variables, x).argmax(-1), maps).mean()
    np.testing.assert_allclose(value, expected[f"gain_w{sharpness}_sigma0.5/L_am"], rtol=1e-4)


@pytest.mark.golden
def test_ranking(case):
    model, variables, x, _, _, expected = case
    scores = METHODS["chefer2021b"].native(model, variables, x, model.apply(variables, x).argmax(-1))
    value = losses.pairwise_ranking(scores.reshape(len(x), -1), jnp.asarray(expected["mask_head"], jnp.float32))
    np.testing.assert_allclose(value, expected["hint_rank/value_per_image"], rtol=1e-4, atol=1e-5)


@pytest.mark.golden
def test_robust_vit(case):
    model, variables, x, _, head, expected = case

    @jax.jit
    def terms(params):
        logits = model.apply({"params": params}, x)
        captured, gradients = capture_with_gradients(model, {"params": params}, x, logits.argmax(-1), (ATTENTION,))
        # The reference holds the gradient that weights attention constant.
        weighted = jax.nn.relu(captured.attention * jax.lax.stop_gradient(gradients.attention)).mean(axis=2)
        patches = propagate(add_identity(weighted, normalise=False), attention_spec(model, x))
        relevance = _scaled(upsample(patches, x.shape[1:3]))
        result = losses.robust_vit(relevance, head, logits)
        return 0.8 * result.localisation.mean(), (result, relevance)

    slopes, (result, relevance) = jax.jit(jax.grad(terms, has_aux=True))(variables["params"])
    close_to_maximum(relevance, expected["robustvit/relevance(B,1,32,32)"][:, 0])
    for name, key in (("background", "background"), ("foreground", "foreground"), ("confidence", "confidence_ce")):
        np.testing.assert_allclose(getattr(result, name).mean(), expected[f"robustvit/{key}"], rtol=1e-4)
    np.testing.assert_allclose(result.total.mean(), expected["robustvit/total"], rtol=1e-4)
    last = f"block_{model.depth - 1}"
    for block, key in (("block_0", "qkv0"), (last, "qkv_last")):
        # Reference norms are of the two terms of the relevance, without confidence.
        norm = _norm(slopes[block]["attention"]["qkv"]["kernel"])
        np.testing.assert_allclose(norm, expected[f"robustvit/grad_norm_{key}"], rtol=1e-3)
    norm = _norm(slopes["stem"]["projection"]["kernel"])
    np.testing.assert_allclose(norm, expected["robustvit/grad_norm_patch_embed"], rtol=1e-3)


def test_a_map_on_the_mask_costs_less_than_one_beside_it():
    mask = jnp.zeros((1, 8, 8), bool).at[:, 2:5, 2:5].set(True)
    logits = jnp.array([[2.0, 0.0]])
    right, wrong = mask.astype(jnp.float32), 1.0 - mask
    assert losses.robust_vit(right, mask, logits).total[0] < losses.robust_vit(wrong, mask, logits).total[0]
    assert losses.squared_gradient_outside(right[..., None].repeat(3, -1), mask)[0] == 0
    assert losses.absolute_gradient_outside(wrong[..., None].repeat(3, -1), mask)[0] == pytest.approx(55 / 64)
    coverage = jnp.array([[1.0, 0.5, 0.0]])
    assert losses.pairwise_ranking(coverage, coverage)[0] == 0
    assert losses.pairwise_ranking(-coverage, coverage)[0] == pytest.approx(2.0)
