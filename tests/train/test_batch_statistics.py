"""A network with batch statistics trains, and its state survives a checkpoint."""

import dataclasses

import jax
import numpy as np

from spermjax.config import Model, Optim
from spermjax.data.pipeline import gather
from spermjax.models.build import build_model
from spermjax.train.checkpoints import Checkpoints
from spermjax.train.session import build_session
from spermjax.train.step import make_train_step
from tests.train import tiny


def test_statistics_follow_the_data_and_are_saved(tmp_path):
    data = tiny.dataset()
    optim = Optim(ema=0.5, freeze=("layer_.*",))
    experiment = dataclasses.replace(tiny.experiment(), model=Model(name="simple_cnn", cbam="last"), optim=optim)
    session = build_session(experiment, data)
    weights = np.ones((data.task.num_outputs, 1), np.float32)
    model = build_model(experiment.model, data.task.num_outputs)
    step = make_train_step(experiment, model, data.task, session.optimizer, weights, 10, None)
    before = session.initial_state()
    after, metrics = jax.jit(step)(before, gather(data.splits["train"], np.arange(16)))
    assert metrics["finite"] == 1
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), after.statistics, before.statistics)
    assert all(jax.tree.leaves(moved))
    np.testing.assert_array_equal(after.params["layer_0"]["conv"]["kernel"], before.params["layer_0"]["conv"]["kernel"])
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), after.evaluated, before.evaluated)
    assert all(jax.tree.leaves((moved["batch_stats"], moved["params"]["cbam"], moved["params"]["head"])))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(after, {}, 0.0)
    restored = checkpoints.restore(session.abstract_state())
    checkpoints.close()
    assert restored is not None
    jax.tree.map(np.testing.assert_array_equal, restored[0], jax.tree.map(np.asarray, after))
