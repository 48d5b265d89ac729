"""float16 learns, its loss scale recovers from an overflow, and what no scale can mend is a divergence."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from spermjax.config import Checks, Optim, Parallel
from spermjax.data.pipeline import gather
from spermjax.errors import DivergenceError
from spermjax.parallel import replicate
from spermjax.run import create
from spermjax.tracking.jsonl import Jsonl, read
from spermjax.train.loop import fit, locate
from spermjax.train.loss_scale import LARGEST, LossScale, with_loss_scale
from spermjax.train.session import build_session
from spermjax.validation import problems
from tests.train import tiny


def of_type(dtype: str, **optim):
    """An experiment without dropout, on two devices, computing in `dtype`."""
    model = dataclasses.replace(tiny.experiment().model, dtype=dtype, dropout=0.0, stochastic_depth=0.0)
    return tiny.experiment(model=model, optim=Optim(learning_rate=3e-3, **optim), parallel=Parallel(devices=2))


def trained(experiment, steps):
    """The state and each step's metrics; the examples are in the data's own order."""
    data = tiny.dataset()
    experiment = dataclasses.replace(experiment, schedule=dataclasses.replace(experiment.schedule, steps=steps))
    session = build_session(experiment, data)
    state, metrics = replicate(session.initial_state(), session.devices), []
    for step in range(steps):
        state, values = session.train_step(
            state, gather(data.splits["train"], np.arange(step * 16, step * 16 + 16) % 45)
        )
        metrics.append({name: float(value) for name, value in values.items()})
    return jax.tree.map(np.asarray, state), metrics


def test_float16_learns_as_float32_does():
    """Witness: the same run in float32."""
    _, half = trained(of_type("float16"), 40)
    _, full = trained(of_type("float32"), 40)
    np.testing.assert_allclose(half[0]["loss"], full[0]["loss"], rtol=5e-3)
    np.testing.assert_allclose(half[0]["gradient_norm"], full[0]["gradient_norm"], rtol=2e-2)
    assert half[-1]["loss"] < 0.85 * half[0]["loss"]
    np.testing.assert_allclose(half[-1]["loss"], full[-1]["loss"], rtol=0.1)
    assert half[0]["loss_scale"] == 2.0**15
    assert "loss_scale" not in full[0]


def test_an_overflow_halves_the_scale_and_changes_nothing_else():
    state, metrics = trained(of_type("float16", loss_scale=LARGEST), 1)
    before = build_session(of_type("float16", loss_scale=LARGEST), tiny.dataset()).initial_state()
    assert not np.isfinite(metrics[0]["gradient_norm"])
    jax.tree.map(np.testing.assert_array_equal, state.params, before.params)
    jax.tree.map(np.testing.assert_array_equal, state.optimizer.inner, before.optimizer.inner)
    assert state.optimizer.scale.value == LARGEST / 2
    assert state.step == 1


def test_training_goes_on_after_an_overflow():
    _, metrics = trained(of_type("float16", loss_scale=LARGEST), 80)
    scales = [values["loss_scale"] for values in metrics]
    good = [np.isfinite(values["gradient_norm"]) for values in metrics].index(True)
    assert 0 < good < 20
    assert scales[: good + 1] == [LARGEST / 2**i for i in range(good + 1)]
    assert all(values["finite"] == 1.0 for values in metrics)
    assert metrics[-1]["loss"] < 0.9 * metrics[0]["loss"]


def test_an_overflow_is_not_taken_for_a_spike():
    experiment = dataclasses.replace(of_type("float16", loss_scale=LARGEST), checks=Checks(on_spike="skip"))
    _, metrics = trained(experiment, 4)
    assert not np.isfinite([values["gradient_norm"] for values in metrics]).any()
    assert [(values["skipped"], values["rate_factor"]) for values in metrics] == [(0.0, 1.0)] * 4


def test_a_good_row_doubles_the_scale():
    _, metrics = trained(of_type("float16", loss_scale=8.0, loss_scale_every=3), 7)
    assert [values["loss_scale"] for values in metrics] == [8.0, 8.0, 8.0, 16.0, 16.0, 16.0, 32.0]


def test_the_scale_stays_between_its_bounds():
    """Witness: the sequence by hand."""
    scale, seen = LossScale(jnp.float32(LARGEST / 2), jnp.int32(0)), []
    for finite in (True, True, True, True, False, True, True):
        scale = scale.adjusted(jnp.asarray(finite), 2)
        seen.append(float(scale.value) / LARGEST)
    assert seen == [0.5, 1.0, 1.0, 1.0, 0.5, 0.5, 1.0]
    assert float(LossScale(jnp.float32(1.0), jnp.int32(0)).adjusted(jnp.asarray(False), 2).value) == 1.0


def test_the_optimiser_is_the_same_but_for_its_state():
    params, gradient = {"w": jnp.arange(3.0)}, {"w": jnp.ones(3)}
    plain, carrying = optax.adam(0.1), with_loss_scale(optax.adam(0.1), 4.0)
    expected, state = plain.update(gradient, plain.init(params), params)
    actual, carried = carrying.update(gradient, carrying.init(params), params)
    np.testing.assert_array_equal(actual["w"], expected["w"])
    jax.tree.map(np.testing.assert_array_equal, carried.inner, state)
    assert carried.scale.value == 4.0


def test_the_scale_is_logged_and_survives_a_resume(tmp_path):
    session = build_session(
        dataclasses.replace(of_type("float16", loss_scale_every=4), tracking=tiny.experiment(tmp_path).tracking),
        tiny.dataset(),
    )
    run = create(session.experiment)
    position = locate(session, run)
    tracker = Jsonl(run.path, resume_step=None)
    fit(session, position, lambda variables: ({}, 0.0), tracker)
    tracker.finish()
    logged = [line["train/loss_scale"] for line in read(run.path) if "train/loss_scale" in line]
    assert logged[:5] == [2.0**15] * 4 + [2.0**16]
    restored = locate(session, run).state
    jax.tree.map(np.testing.assert_array_equal, restored, position.state)


def test_what_no_scale_mends_is_a_divergence(tmp_path):
    experiment = dataclasses.replace(of_type("float16", clip=None), tracking=tiny.experiment(tmp_path).tracking)
    experiment = dataclasses.replace(experiment, optim=dataclasses.replace(experiment.optim, learning_rate=1e30))
    session, run = build_session(experiment, tiny.dataset()), create(experiment)
    with pytest.raises(DivergenceError):
        fit(session, locate(session, run), lambda variables: ({}, 0.0), Jsonl(run.path, resume_step=None))


def test_a_scale_that_rounds_is_refused():
    (problem,) = problems(of_type("float16", loss_scale=1000.0))
    assert "power of two" in problem
