import numpy as np
import pytest

from spermjax.data.pipeline import padded_batches, training_batches
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


def test_seeds_differ():
    first, second = (next(training_batches(TRAIN, 45, seed=seed)).index for seed in (0, 1))
    assert (first != second).any()
