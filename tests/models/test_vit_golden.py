"""Witness: timm's vision transformer in PyTorch, through the numbers in `golden/`."""

import jax
import numpy as np
import pytest

from spermjax.models.attention.contract import ATTENTION, FEATURES
from tests.models.golden import NAMES, images, model_and_variables

pytestmark = pytest.mark.golden


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", NAMES)
def test_logits_attention_and_residual_stream(assets, name):
    golden = assets / "golden"
    expected = np.load(golden / "data" / f"forward_{name}.npz")
    model, variables = model_and_variables(golden, name)
    logits, captured = jax.jit(lambda v, x: model.apply(v, x, mutable=[ATTENTION, FEATURES]))(variables, images(golden))
    close(logits, expected["logits"])
    for layer in range(model.depth):
        block = f"block_{layer}"
        close(captured[ATTENTION][block]["attention"]["weights"], expected["attn"][layer])
        close(captured[FEATURES][block]["output"], expected["block_out"][layer])
    assert model.attention_spec(images(golden).shape[1:3]).prefix == expected["num_prefix_tokens"]


def test_images_reach_the_model_as_the_reference_normalised_them(assets):
    batch = np.load(assets / "golden" / "data" / "batch.npz")
    model, _ = model_and_variables(assets / "golden", "cls")
    normalised = (images(assets / "golden") - np.asarray(model.mean)) / np.asarray(model.std)
    close(normalised.transpose(0, 3, 1, 2), batch["x_nchw"])


@pytest.mark.parametrize("file", ["cls.augreg.npz", "cls.bigvision.npz", "rand.augreg.npz", "gap.bigvision.npz"])
def test_every_format_gives_the_same_parameters(assets, file):
    name, suffix = file.split(".", 1)
    _, expected = model_and_variables(assets / "golden", name)
    _, actual = model_and_variables(assets / "golden", name, suffix)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_masking_a_token_equals_dropping_it(assets, order):
    golden = assets / "golden"
    reference = np.load(golden / "data" / "faithfulness_cls.npz")
    expected = reference[f"own:patch_{order}_drop_logits(k=0..16,B,C)"]
    ranking = reference["own:patch_order_morf_chefer"][:, :: 1 if order == "morf" else -1]
    model, variables = model_and_variables(golden, "cls")
    for dropped in (0, 1, 5, ranking.shape[1] - 1):
        mask = np.ones_like(ranking, bool)
        np.put_along_axis(mask, ranking[:, :dropped], False, axis=1)
        close(model.apply(variables, images(golden), mask), expected[dropped])
