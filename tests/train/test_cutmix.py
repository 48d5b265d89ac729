"""CutMix pastes image and masks alike, and blends labels by the area."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.config import Loss
from spermjax.data.batch import unpack
from spermjax.data.pipeline import gather
from spermjax.data.task import Task
from spermjax.train import cutmix as module
from spermjax.train import mixing
from spermjax.train.losses import targets_of
from tests.train import tiny

cutmix = jax.jit(module.cutmix, static_argnames="alpha")
mix = jax.jit(mixing.mix, static_argnames="config")
TASK = Task("single_label", tuple("abcd"))
PARTNER = [1, 0, 3, 2, 5, 4, 7, 6]


def batch_of(index):
    batch = unpack(gather(tiny.dataset().splits["train"], np.asarray(index)))
    return batch, *targets_of(TASK, batch.label, 0.0)


def keys_of(size, seed):
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(seed), jnp.arange(size))


@pytest.mark.parametrize("seed", range(4))
def test_a_rectangle_of_the_neighbour_is_pasted_in_image_masks_and_label(seed):
    batch, soft, known = batch_of(range(8))
    after, soft_after, _ = cutmix(keys_of(8, seed), batch, soft, known, alpha=1.0)
    for i, partner in enumerate(PARTNER):
        # Noise differs nearly everywhere, so where it is the neighbour's the rectangle was.
        inside = (np.asarray(after.image[i]) != np.asarray(batch.image[i])).any(-1)
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        box = np.zeros_like(inside)
        if len(rows):
            box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        np.testing.assert_array_equal(after.image[i], np.where(box[..., None], batch.image[partner], batch.image[i]))
        np.testing.assert_array_equal(after.parts[i], np.where(box[..., None], batch.parts[partner], batch.parts[i]))
        share = box.mean()
        np.testing.assert_allclose(soft_after[i], (1 - share) * soft[i] + share * soft[partner], atol=1e-6)
        assert share <= 0.6  # Half, and the rounding to whole pixels.
        assert bool(after.has_parts[i]) == bool(batch.has_parts[i] and (batch.has_parts[partner] or not share))


def test_share_of_the_area_is_lambda_s_where_nothing_is_cut_off():
    """Mean of 1 - max(lambda, 1 - lambda) for Beta(1, 1) is 1/4; what reaches out of the image makes it less."""
    split = tiny.dataset().splits["train"]
    batch, soft, known = batch_of(np.arange(400) % len(split))
    _, soft_after, _ = cutmix(keys_of(400, 0), batch, soft, known, alpha=1.0)
    own = np.take_along_axis(np.asarray(soft_after), np.asarray(batch.label)[:, None], 1)[:, 0]
    differs = np.asarray(batch.label) != np.asarray(batch.label)[np.arange(400) ^ 1]
    assert 0.1 < (1 - own[differs]).mean() < 0.25


def test_padding_lends_nothing():
    batch, soft, known = batch_of([0, -1])
    after, soft_after, _ = cutmix(keys_of(2, 0), batch, soft, known, alpha=1.0)
    np.testing.assert_array_equal(after.image[0], batch.image[0])
    np.testing.assert_array_equal(soft_after[0], soft[0])


def test_with_both_each_pair_gets_one_of_the_two():
    batch, soft, known = batch_of(range(32))
    key, slots = jax.random.key(0), jnp.arange(32)
    both, soft_both, _ = mix(key, slots, batch, soft, known, config=Loss(mixup=0.5, cutmix=1.0))
    blended, _, _ = mix(key, slots, batch, soft, known, config=Loss(mixup=0.5))
    pasted, _, _ = mix(key, slots, batch, soft, known, config=Loss(cutmix=1.0))
    is_blended = np.array([bool((a == b).all()) for a, b in zip(both.image, blended.image, strict=True)])
    is_pasted = np.array([bool((a == b).all()) for a, b in zip(both.image, pasted.image, strict=True)])
    assert (is_blended | is_pasted).all() and 4 < is_blended.sum() < 28
    np.testing.assert_array_equal(is_blended[::2], is_blended[1::2])
    np.testing.assert_allclose(soft_both.sum(-1), 1.0, atol=1e-6)


def test_without_either_nothing_is_compiled():
    batch, soft, known = batch_of(range(4))
    mixed = mixing.mix(jax.random.key(0), jnp.arange(4), batch, soft, known, config=Loss())
    assert mixed == (batch, soft, known)


def test_a_share_of_the_batch_mixes_like_the_whole():
    """Two devices of four examples each give what one gives of eight."""
    batch, soft, known = batch_of(range(8))
    config, key = Loss(mixup=0.5, cutmix=1.0), jax.random.key(3)
    whole, soft_whole, _ = mix(key, jnp.arange(8), batch, soft, known, config=config)
    part = jax.tree.map(lambda leaf: leaf[4:], (batch, soft, known))
    half, soft_half, _ = mix(key, jnp.arange(4, 8), *part, config=config)
    np.testing.assert_array_equal(half.image, whole.image[4:])
    np.testing.assert_array_equal(soft_half, soft_whole[4:])
