import dataclasses
import types

import jax
import numpy as np
import pytest

from spermjax.data import pipeline
from spermjax.data.pipeline import fits_on_device, gather, padded_batches, training_batches, whole
from tests.train import tiny

TRAIN = tiny.dataset().splits["train"]


@pytest.mark.parametrize("batch_size", [1, 7, 45, 64])
def test_padded_batches_hold_each_example_once(batch_size):
    batches = list(padded_batches(TRAIN, batch_size))
    assert {len(batch.index) for batch in batches} == {batch_size}
    index = np.concatenate([batch.index[batch.weight > 0] for batch in batches])
    np.testing.assert_array_equal(index, np.arange(len(TRAIN)))
    assert all((batch.index[batch.weight == 0] == -1).all() for batch in batches)
    assert not any(batch.has_parts[batch.weight == 0].any() for batch in batches)


def test_epochs_follow_without_a_gap_and_in_another_order():
    batches = training_batches(TRAIN, 15, seed=3)
    epochs = [np.concatenate([next(batches).index for _ in range(3)]) for _ in range(2)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(45))
    assert (epochs[0] != epochs[1]).any()


def test_a_batch_may_span_epochs_and_drops_nothing():
    batches = training_batches(TRAIN, 16, seed=0)
    index = np.concatenate([next(batches).index for _ in range(45)])
    np.testing.assert_array_equal(np.bincount(index), np.full(45, 16))


def test_restored_state_yields_the_next_batch():
    batches = training_batches(TRAIN, 16, seed=1)
    for _ in range(5):
        next(batches)
    state = batches.get_state()
    expected = [next(batches).index for _ in range(4)]
    restored = training_batches(TRAIN, 16, seed=1)
    restored.set_state(state)
    np.testing.assert_array_equal([next(restored).index for _ in range(4)], expected)


def balanced_batches(split, size, seed=0, kind="index"):
    return training_batches(split, size, seed, sampling="balanced", yields=kind)


def imbalanced(kind="single_label"):
    """Four classes of which one has a single example."""
    split = tiny.dataset(kind).splits["train"]
    corner = split.label if kind == "single_label" else split.label[:, 0] * 2 + split.label[:, 1]
    return split.take(np.r_[np.flatnonzero(corner == 0)[:1], np.flatnonzero(corner != 0)])


def test_balanced_batches_hold_every_class_alike():
    split = imbalanced()
    batches = balanced_batches(split, 16)
    index = np.stack([next(batches).index for _ in range(30)])
    for batch in index:
        np.testing.assert_array_equal(np.bincount(split.label[batch]), [4, 4, 4, 4])
    # Within a class each is drawn once before any is drawn again.
    for value in range(4):
        drawn = np.bincount(index.ravel(), minlength=len(split))[split.label == value]
        assert drawn.max() - drawn.min() <= 1
    assert len({tuple(split.label[batch]) for batch in index}) > 20  # Neighbours differ from batch to batch.


def test_both_sides_of_every_attribute_take_turns():
    """Closed form: of every four draws one is from each side of each of two attributes, among its own in turn."""
    label = np.array([[1, 0]] * 2 + [[0, 0]] * 20 + [[0, 1]] * 5 + [[-1, 1]], np.int32)
    split = dataclasses.replace(TRAIN.take(np.arange(len(label))), label=label)
    batches = balanced_batches(split, 16)
    draws = np.concatenate([next(batches).index for _ in range(50)])
    turns = len(draws) / 4
    expected = sum((column == side) * turns / (column == side).sum() for column in label.T for side in (0, 1))
    assert (np.abs(np.bincount(draws, minlength=len(label)) - expected) < 2).all()


def test_balanced_order_goes_on_where_it_stood_and_is_the_same_either_way():
    split = imbalanced()
    batches = balanced_batches(split, 7, seed=2)
    for _ in range(5):
        next(batches)
    state = batches.get_state()
    expected = [next(batches).index for _ in range(6)]
    for kind in ("index", "batch"):
        restored = balanced_batches(split, 7, seed=2, kind=kind)
        restored.set_state(state)
        np.testing.assert_array_equal([next(restored).index for _ in range(6)], expected)
    assert (next(balanced_batches(split, 7, seed=3)).index != next(balanced_batches(split, 7, seed=2)).index).any()


def test_seeds_differ():
    first, second = (next(training_batches(TRAIN, 45, seed=seed)).index for seed in (0, 1))
    assert (first != second).any()


def test_examples_on_the_device_give_the_streamed_batches_bit_for_bit():
    """Gathered under jit by what the index iterator sends, over the seam of two epochs; also after a change of way."""
    stored = jax.device_put(whole(TRAIN))
    on_device = jax.jit(lambda chosen: gather(stored, chosen.index))
    streamed = training_batches(TRAIN, 16, seed=4)
    chosen = training_batches(TRAIN, 16, seed=4, yields="index")
    for _ in range(5):
        jax.tree.map(np.testing.assert_array_equal, on_device(next(chosen)), next(streamed))
    resumed = training_batches(TRAIN, 16, seed=4, yields="index")
    resumed.set_state(streamed.get_state())
    jax.tree.map(np.testing.assert_array_equal, on_device(next(resumed)), next(streamed))
    padding = np.array([3, -1], np.int32)
    jax.tree.map(np.testing.assert_array_equal, jax.jit(gather)(stored, padding), gather(TRAIN, padding))


def test_an_index_is_all_that_is_sent():
    (sent,) = jax.tree.leaves(next(training_batches(TRAIN, 16, seed=0, yields="index")))
    assert sent.shape == (16,) and sent.nbytes == 64


def test_fit_is_judged_by_the_memory_there_is(monkeypatch):
    """An accelerator's own memory, or the host's, which its virtual devices share."""
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(whole(TRAIN)))
    monkeypatch.setattr(pipeline, "_RESIDENT_BYTES", 2 * size)
    assert fits_on_device(TRAIN, jax.local_devices()[:2])
    assert not fits_on_device(TRAIN, jax.local_devices()[:3])
    small, large = (
        types.SimpleNamespace(memory_stats=lambda n=n: {"bytes_limit": n}) for n in (4 * size - 1, 4 * size)
    )
    assert fits_on_device(TRAIN, [large, large])
    assert not fits_on_device(TRAIN, [large, small])
