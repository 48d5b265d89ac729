"""Shorter sequences: the same logits as a mask over whole ones gives, which is the witness here."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.errors import ConfigError
from spermjax.interpret.leaving_out import LENGTHS, kept_logits, lengths
from spermjax.interpret.methods import METHODS
from spermjax.interpret.methods.kernel_shap import coalition_sizes
from spermjax.interpret.metrics.faithfulness import curve
from spermjax.interpret.model import FunctionModel
from spermjax.models.vit import ViT
from tests.interpret.support import Foreign, close_to_maximum

IMAGES = np.random.default_rng(0).uniform(size=(2, 16, 16, 3)).astype(np.float32)
TARGETS = np.array([0, 2], np.int32)


@dataclasses.dataclass(frozen=True)
class WholeLength:
    """A model that takes a mask alone."""

    model: Any

    def attention_spec(self, size):
        return self.model.attention_spec(size)

    def apply(self, variables, images, token_mask=None):
        return self.model.apply(variables, images, token_mask=token_mask)


@functools.cache
def small():
    model = ViT(num_outputs=3, patch_size=2, width=16, depth=1, heads=2)
    params = jax.jit(model.init)(jax.random.key(1), IMAGES)["params"]
    return model, {"params": jax.tree.map(lambda leaf: 4 * leaf, params)}


def test_sets_of_all_sizes_come_back_in_their_order():
    model, variables = small()
    rng = np.random.default_rng(0)
    sizes = rng.permutation(np.arange(65))
    masks = jnp.asarray(np.stack([rng.permutation(64) < size for size in sizes]))
    sequences = []

    class Counting(WholeLength):
        shortens = True

        def apply(self, variables, images, token_mask=None, keep=None):
            sequences.append(64 if keep is None else keep.shape[1])
            return self.model.apply(variables, images, token_mask=token_mask, keep=keep)

    def logits(model):
        kept = lambda number: jnp.broadcast_to(masks[number], (2, 64))  # noqa: E731
        return jax.jit(lambda v, x: kept_logits(model, v, x, kept, sizes, chunk=8))(variables, IMAGES)

    np.testing.assert_allclose(logits(Counting(model)), logits(WholeLength(model)), atol=1e-4)
    assert set(sequences) == {16, 32, 48, 64}


def test_lengths_serve_all_sizes_and_few_sets_share_one():
    sizes = np.random.default_rng(0).integers(0, 197, 500)
    found = lengths(sizes)
    assert len(found) == LENGTHS
    assert found[-1] == sizes.max()
    assert len(lengths(np.arange(10))) == 1
    assert list(lengths(np.full(1000, 98))) == [98]


@pytest.mark.parametrize("mode", ["deletion", "insertion"])
def test_a_curve_is_the_same_for_less_work(mode):
    model, variables = small()
    scores = jax.random.normal(jax.random.key(2), (2, 8, 8))

    def run(model):
        return jax.jit(lambda v, x: curve(model, v, x, scores, mode=mode, chunk=16)[1])(variables, IMAGES)

    np.testing.assert_allclose(run(model), run(WholeLength(model)), atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"name": "token_rise", "masks": 20}, {"name": "token_kernel_shap", "coalitions": 400}]
)
def test_a_map_is_the_same_for_less_work(options):
    model, variables = small()
    method = METHODS[options["name"]].using(**options)

    def run(model):
        return jax.jit(lambda v, x, t: method.native(model, v, x, t))(variables, IMAGES, TARGETS)

    close_to_maximum(run(model), run(WholeLength(model)), 1e-2)


def test_shapley_values_of_left_out_tokens_sum_to_what_all_of_them_bring():
    model, variables = small()
    native = METHODS["token_kernel_shap"].using("few", coalitions=400).native
    maps = jax.jit(lambda v, x, t: native(model, v, x, t))(variables, IMAGES, TARGETS)
    rise = model.apply(variables, IMAGES) - model.apply(variables, IMAGES, token_mask=jnp.zeros((2, 64), bool))
    np.testing.assert_allclose(maps.sum((1, 2)), rise[np.arange(2), TARGETS], atol=1e-3)


def test_sizes_of_coalitions_are_distributed_as_the_shapley_kernel_has_them():
    counts = np.bincount(coalition_sizes(9, 100_000), minlength=9)[1:]
    kernel = 1.0 / (np.arange(1, 9) * np.arange(8, 0, -1))
    np.testing.assert_allclose(counts / counts.sum(), kernel / kernel.sum(), atol=2e-5)


def test_a_patch_that_decides_alone_is_found_by_random_sets():
    """The logit counts one patch: whoever is kept with it scores high, and that patch always."""

    @dataclasses.dataclass(frozen=True)
    class OnePatch(WholeLength):
        def apply(self, variables, images, token_mask=None):
            shown = token_mask[:, 5].astype(jnp.float32)
            return jnp.stack([8 * shown, jnp.zeros_like(shown)], axis=1)

    maps = METHODS["token_rise"].native(OnePatch(Foreign()), {}, IMAGES, np.zeros(2, np.int32), masks=200)
    assert (maps.reshape(2, -1).argmax(axis=1) == 5).all()
    np.testing.assert_allclose(maps[:, 1, 1], 1.0, atol=0.2)


@pytest.mark.parametrize("name", ["token_rise", "token_kernel_shap"])
def test_a_function_without_tokens_is_refused_by_name(name):
    with pytest.raises(ConfigError, match="FunctionModel has no attention_spec"):
        METHODS[name].native(FunctionModel(lambda x: x[:, 0, 0]), {}, IMAGES, TARGETS)


def test_models_without_logits_for_no_patch_and_foreign_grids_are_refused():
    native = METHODS["token_kernel_shap"].native
    with pytest.raises(ConfigError, match=r"Foreign averages its patches.*kernel_shap"):
        native(Foreign(prefix=0, reads="mean"), {}, IMAGES, TARGETS)
    with pytest.raises(ConfigError, match="grid of 2 x 2"):
        native(Foreign(), {}, IMAGES, TARGETS, grid=(2, 2))
