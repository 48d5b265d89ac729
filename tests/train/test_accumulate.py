"""A batch in parts gives the gradients of the whole."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.config import Guidance, Model, Optim, Parallel
from spermjax.data.pipeline import gather
from spermjax.errors import ConfigError
from spermjax.models.build import build_model
from spermjax.parallel import AXIS, pmap_step, replicate
from spermjax.train.accumulate import accumulate
from spermjax.train.session import build_session, devices_of_step
from spermjax.validation import problems
from tests.train import tiny
from tests.train.test_step import MIXED, gradients_agree, initial, sgd_step


def taken_in(parts: int, **changes):
    """The state and metrics after one step of plain gradient descent, dropout and stochastic depth on."""
    data = tiny.dataset()
    experiment = tiny.experiment(guidance=Guidance(weight=0.5), loss=MIXED, optim=Optim(accumulate=parts), **changes)
    axis = AXIS if changes else None
    step, optimizer = sgd_step(experiment, data, axis, jnp.float64)
    # Padding and examples without masks are spread unevenly over the parts.
    batch = gather(data.splits["train"], np.r_[np.arange(13), -1, -1, -1])
    with jax.enable_x64(True):
        state = initial(experiment, data, optimizer, jnp.float64)
        if axis is None:
            return jax.jit(step)(state, batch)
        devices = jax.local_devices()[: experiment.parallel.devices]
        return pmap_step(step, devices)(replicate(state, devices), batch)


@pytest.fixture(scope="module")
def whole():
    return taken_in(1)


@pytest.mark.multidevice
@pytest.mark.parametrize(
    ("parts", "changes"),
    [
        (2, {}),
        (8, {}),
        (4, {"parallel": Parallel(devices=2)}),
        (4, {"parallel": Parallel(devices=2), "model": dataclasses.replace(tiny.experiment().model, remat=True)}),
    ],
)
def test_gradients_are_those_of_the_whole_batch(whole, parts, changes):
    """Witness: the step without parts, on one device; with SGD, since Adam would hide a wrong scale."""
    state, metrics = taken_in(parts, **changes)
    expected, expected_metrics = whole
    gradients_agree(state, expected, expected_metrics["gradient_norm"])
    for name, value in expected_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_parts_take_less_memory():
    data = tiny.dataset()

    def temporary(parts):
        model = Model(patch_size=2, width=32, depth=2, heads=2)
        experiment = tiny.experiment(model=model, optim=Optim(accumulate=parts))
        step, optimizer = sgd_step(experiment, data, None)
        batch = gather(data.splits["train"], np.arange(32))
        lowered = jax.jit(step).lower(initial(experiment, data, optimizer), batch)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert temporary(8) < 0.4 * temporary(1)


def test_statistics_go_from_part_to_part():
    """Witness: a sum and a product by hand."""
    values = jnp.arange(1.0, 7.0)

    def of_part(product, part):
        return {"sum": part.sum()}, product * part.prod()

    total, product = jax.jit(lambda x: accumulate(of_part, jnp.ones(()), x, 3))(values)
    assert float(total["sum"]) == 21.0
    assert float(product) == 720.0


def test_a_network_with_batch_statistics_takes_parts():
    data = tiny.dataset()
    model, optim = Model(name="simple_cnn"), Optim(accumulate=2)
    session = build_session(tiny.experiment(model=model, optim=optim, parallel=Parallel(devices=2)), data)
    before = session.initial_state()
    state, metrics = session.train_step(replicate(before, session.devices), gather(data.splits["train"], np.arange(16)))
    assert float(metrics["finite"]) == 1.0
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), state.statistics, before.statistics)
    assert all(jax.tree.leaves(moved))


def test_parts_that_do_not_divide_the_batch_are_refused():
    experiment = tiny.experiment(optim=Optim(accumulate=3))
    assert problems(experiment) == ["--optim.accumulate 3 doesn't divide --schedule.batch-size 16"]
    experiment = tiny.experiment(optim=Optim(accumulate=4), parallel=Parallel(devices=8))
    with pytest.raises(ConfigError, match=r"devices 8 times --optim.accumulate 4 doesn't divide"):
        build_session(experiment, tiny.dataset())


@pytest.mark.parametrize(("parallel", "devices"), [(Parallel(), 1), (Parallel(devices=2), 2), (Parallel("fsdp"), 8)])
def test_few_cores_train_as_one_device(monkeypatch, parallel, devices):
    monkeypatch.setattr("spermjax.train.session.few_cores", lambda: True)
    assert len(devices_of_step(tiny.experiment(parallel=parallel))) == devices


def test_the_model_of_a_part_is_that_of_the_whole():
    """The devices are chosen so that each has a whole number of parts."""
    session = build_session(tiny.experiment(optim=Optim(accumulate=8)), tiny.dataset())
    assert len(session.devices) == 2
    assert build_model(session.experiment.model, 4) == session.model
