"""Named sizes, stems for small data, and what `spermjax models` says of them."""

import json

import jax
import numpy as np
import pytest

from spermjax.cli import main
from spermjax.config import Model
from spermjax.models.build import build_model, init_variables
from spermjax.models.describe import describe
from spermjax.models.stem import STEMS, shift_diagonally


def test_sizes_are_those_of_the_papers(capsys):
    """Witness: parameters and operations that the DeiT paper's table 1 has for ViT-Ti/16 with 1000 classes."""
    assert main(["models", "vit_ti_16", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["models"]
    assert found["tokens"] == 197
    assert abs(found["parameters"] + 998 * 193 - 5.717e6) < 1e4
    assert abs(found["flops"] / 2 - 1.26e9) < 0.1e9
    assert found["weights"] == ["timm", "DeiT", "DINO", "DINOv2", "AugReg", "big_vision"]


@pytest.mark.parametrize("variant", ["window", "class_attention"])
def test_what_a_deep_model_costs_is_what_it_holds(variant):
    """Witness: the parameters themselves, and XLA's count of the whole model, not of its first blocks."""
    config = Model(width=16, depth=6, heads=2, patch_size=4, attention=variant)
    model, image = build_model(config, 3), jax.numpy.zeros((1, 16, 16, 3))
    variables = init_variables(model, jax.random.key(0), 16)
    found = describe(config, 16, 3)
    assert found.parameters == sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert found.flops == jax.jit(model.apply).lower(variables, image).cost_analysis()["flops"]


def test_a_pattern_lists_what_it_matches(capsys):
    assert main(["models", "*_query", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in found["attention"]] == ["part_query"]
    assert found["models"] == []
    assert [entry["name"] for entry in found["methods"]] == ["part_query"]
    assert main(["models", "talking_hads"]) == 2
    assert "talking_heads" in capsys.readouterr().err


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("patch", [4, 6])
def test_a_token_stands_for_its_patch(stem, patch):
    """A change in one patch moves its own token most, and none that lies far away."""
    size = 6 * patch
    images = np.float32(np.random.default_rng(0).uniform(size=(1, size, size, 3)))
    changed = images.copy()
    changed[:, :patch, :patch] = 1 - changed[:, :patch, :patch]
    layer = STEMS[stem](patch, 16)
    variables = layer.init(jax.random.key(0), images)
    before, after = (layer.apply(variables, x) for x in (images, changed))
    assert before.shape == (1, 6, 6, 16)
    moved = np.abs(after - before).sum(-1)[0]
    assert np.unravel_index(moved.argmax(), moved.shape) == (0, 0)
    if stem != "conv":  # Its group norm sees the whole image.
        assert moved[3:, 3:].max() == 0


def test_shifts_bring_in_all_four_corners():
    image = np.arange(16.0, dtype=np.float32).reshape(1, 4, 4, 1)
    shifted = shift_diagonally(image, 1)[0, 1, 1]
    np.testing.assert_array_equal(shifted, [5, 0, 2, 8, 10])


def test_a_named_size_reaches_the_model():
    model = build_model(Model(name="vit_s_8", attention="rotary"), num_outputs=2)
    assert (model.patch_size, model.width, model.depth, model.heads) == (8, 384, 12, 6)
