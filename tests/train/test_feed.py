"""Training is the same whether examples lie on the devices or are streamed to them."""

import jax
import numpy as np
import pytest

from spermjax.config import Data, Parallel
from spermjax.data.pipeline import training_batches
from spermjax.parallel import AXIS, replicate
from spermjax.train import session as session_module
from spermjax.train.session import build_session
from tests.train import tiny


def fed(feed: str, devices: int, steps: int = 4):
    """The final state, and the metrics of steps that reach into the second epoch."""
    experiment = tiny.experiment(data=Data(image_size=16, feed=feed), parallel=Parallel(devices=devices))
    session = build_session(experiment, tiny.dataset())
    batches = training_batches(
        session.dataset.splits["train"], 16, experiment.seed, yields="index" if session.resident else "batch"
    )
    state, metrics = replicate(session.initial_state(), session.devices), []
    for _ in range(steps):
        state, values = session.train_step(state, next(batches))
        metrics.append(jax.tree.map(np.asarray, values))
    return jax.tree.map(np.asarray, state), metrics


@pytest.mark.multidevice
@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_every_step_gets_the_same_batch_bit_for_bit_with_one_compilation(monkeypatch, devices):
    """The session's own way to the step, with a step that gives back what it was given."""
    traced = []

    def make_echo(*args):
        def echo(state, packed):
            traced.append(packed.image.shape)
            return state, jax.lax.all_gather(packed, AXIS, tiled=True)

        return echo

    monkeypatch.setattr(session_module, "make_train_step", make_echo)
    _, resident = fed("device", devices)
    assert traced == [(16 // devices, 16, 16, 3)]
    _, streamed = fed("stream", devices)
    jax.tree.map(np.testing.assert_array_equal, resident, streamed)
    assert len({tuple(batch.index) for batch in streamed}) == 4


def test_training_is_the_same_bit_for_bit():
    resident, streamed = fed("device", 2), fed("stream", 2)
    jax.tree.map(np.testing.assert_array_equal, resident, streamed)


def test_small_sets_are_resident_and_large_ones_streamed(monkeypatch):
    assert build_session(tiny.experiment(), tiny.dataset()).resident
    monkeypatch.setattr("spermjax.data.pipeline._RESIDENT_BYTES", 1000)
    assert not build_session(tiny.experiment(), tiny.dataset()).resident
