"""The step gives one device's gradients on any number, compiles once, and hides no cost."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from spermjax.config import Guidance, Loss, Optim
from spermjax.data.batch import shard
from spermjax.data.pipeline import gather
from spermjax.models.build import build_model
from spermjax.parallel import AXIS, pmap_step, replicate
from spermjax.train.losses import class_weights
from spermjax.train.session import build_session
from spermjax.train.state import create_state
from spermjax.train.step import make_train_step
from tests.train import tiny

GUIDED = Guidance(weight=0.5)


def sgd_step(experiment, data, axis_name, dtype=jnp.float32):
    """A step whose change of the parameters is the gradient itself."""
    outputs = data.task.num_outputs
    weights = class_weights(data.task, data.splits["train"].label, Loss(class_weights="balanced"))
    optimizer = optax.with_extra_args_support(optax.sgd(1.0))
    model = build_model(experiment.model, outputs, axis_name).clone(dtype=dtype)
    return make_train_step(experiment, model, data.task, optimizer, weights, 10, axis_name), optimizer


def initial(experiment, data, optimizer, dtype=jnp.float32):
    variables = build_session(experiment, data).initial_state().variables
    # Larger parameters than at the start, so that gradients are far from rounding.
    return create_state(jax.tree.map(lambda p: (p * 3).astype(dtype), variables), optimizer, averaged=False)


def gradients_agree(actual, expected, norm, within=1e-8):
    """Parameters after one step differ by no more than this share of the gradient's norm.

    The default is for double precision with labels and losses that stay in single.
    """
    close = partial(np.testing.assert_allclose, rtol=0, atol=within * max(1.0, float(norm)))
    jax.tree.map(close, actual.params, expected.params)


MIXED = Loss(mixup=0.4, cutmix=0.5, focal=1.0, label_smoothing=0.1)


@pytest.mark.multidevice
@pytest.mark.parametrize(
    ("kind", "loss", "counts", "dtype", "within"),
    [
        ("single_label", MIXED, (1, 2, 4, 8), jnp.float32, 3e-5),
        ("multi_attribute", MIXED, (4,), jnp.float32, 3e-5),
        # What is left of the difference in single precision is rounding.
        ("single_label", MIXED, (1, 2, 4, 8), jnp.float64, 1e-8),
        ("multi_attribute", MIXED, (4,), jnp.float64, 1e-8),
        ("single_label", Loss(), (4,), jnp.float64, 1e-10),
    ],
)
def test_gradients_do_not_depend_on_the_number_of_devices(kind, loss, counts, dtype, within):
    """Witness: the same step without pmap; with SGD, since Adam would hide a wrong scale."""
    data = tiny.dataset(kind)
    experiment = tiny.experiment(guidance=GUIDED, loss=loss)
    batch = gather(data.splits["train"], np.r_[np.arange(14), -1, -1])
    with jax.enable_x64(dtype == jnp.float64):
        step, optimizer = sgd_step(experiment, data, None, dtype)
        expected, metrics = jax.jit(step)(initial(experiment, data, optimizer, dtype), batch)
        step, optimizer = sgd_step(experiment, data, AXIS, dtype)
        for count in counts:
            devices = jax.local_devices()[:count]
            state = replicate(initial(experiment, data, optimizer, dtype), devices)
            actual, mapped_metrics = pmap_step(step, devices)(state, batch)
            gradients_agree(actual, expected, metrics["gradient_norm"], within)
            for name, value in metrics.items():
                np.testing.assert_allclose(mapped_metrics[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_gradients_equal_finite_differences():
    """Witness: central differences of the reported loss along random directions, in SGD's own step."""
    data = tiny.dataset()
    experiment = tiny.experiment(guidance=GUIDED)
    batch = gather(data.splits["train"], np.arange(16))
    step, optimizer = sgd_step(experiment, data, None)
    state = initial(experiment, data, optimizer)
    step = jax.jit(step)
    gradient = jax.tree.map(lambda before, after: before - after, state.params, step(state, batch)[0].params)
    flat, unflatten = ravel_pytree(state.params)
    flat_gradient, _ = ravel_pytree(gradient)
    rng = np.random.default_rng(0)
    for _ in range(3):
        direction = flat_gradient / jnp.linalg.norm(flat_gradient) + 0.1 * rng.normal(size=flat.shape) / flat.size**0.5
        ends = [step(state.replace(params=unflatten(flat + h * direction)), batch)[1]["loss"] for h in (1e-3, -1e-3)]
        np.testing.assert_allclose((ends[0] - ends[1]) / 2e-3, flat_gradient @ direction, rtol=2e-2)


def test_one_compilation():
    data, experiment = tiny.dataset(), tiny.experiment()
    step, optimizer = sgd_step(experiment, data, AXIS)
    traces = []

    def counted(state, batch):
        traces.append(1)
        return step(state, batch)

    devices = jax.local_devices()[:2]
    mapped = pmap_step(counted, devices)
    state = replicate(initial(experiment, data, optimizer), devices)
    for start in (0, 8, 16):
        state, _ = mapped(state, gather(data.splits["train"], np.arange(start, start + 16)))
    assert int(state.step) == 3
    assert len(traces) == 1


def results(function, *arguments) -> str:
    """What a compiled function returns, as its HLO says."""
    entry = jax.jit(function).lower(*arguments).compile().as_text().split("\n", 1)[0]
    return entry.split("->")[-1]


def test_capture_off_costs_nothing():
    """The compiled step has no attention among its results; a capturing forward pass has, so the shape is right."""
    attention = "f32[16,2,17,17]"
    data, experiment = tiny.dataset(), tiny.experiment()
    step, optimizer = sgd_step(experiment, data, None)
    state, batch = initial(experiment, data, optimizer), gather(data.splits["train"], np.arange(16))
    model = build_model(experiment.model, data.task.num_outputs)
    images = jnp.zeros((16, 16, 16, 3))
    assert attention not in results(step, state, batch)
    assert attention not in results(lambda p, x: model.apply({"params": p}, x), state.params, images)
    assert attention in results(lambda p, x: model.apply({"params": p}, x, mutable=["attention"]), state.params, images)


def test_guidance_moves_attention_onto_the_part():
    data = tiny.dataset()
    mass = {}
    for weight in (1e-9, 5.0):
        experiment = tiny.experiment(guidance=dataclasses.replace(GUIDED, weight=weight))
        schedule = dataclasses.replace(experiment.schedule, steps=60)
        experiment = dataclasses.replace(experiment, optim=Optim(learning_rate=3e-3), schedule=schedule)
        session = build_session(experiment, data)
        state = replicate(session.initial_state(), session.devices)
        for step in range(60):
            index = np.random.default_rng(step).integers(0, 45, 16)
            state, metrics = session.train_step(state, gather(data.splits["train"], index))
        mass[weight] = np.exp(-float(metrics["guidance_loss"]))
    assert mass[5.0] > 0.5 > mass[1e-9]


def test_a_step_that_is_not_finite_changes_nothing_but_the_count():
    data = tiny.dataset()
    experiment = tiny.experiment(optim=Optim(learning_rate=1e38, clip=None))
    session = build_session(experiment, data)
    state = replicate(session.initial_state(), session.devices)
    batch = gather(data.splits["train"], np.arange(16))
    finite = []
    for _ in range(4):
        before = jax.tree.map(np.asarray, state.params)
        state, metrics = session.train_step(state, batch)
        finite.append(float(metrics["finite"]))
        if not finite[-1]:
            jax.tree.map(np.testing.assert_array_equal, before, jax.tree.map(np.asarray, state.params))
    assert 0.0 in finite
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.tree.map(np.asarray, state.params)))


def test_shard_keeps_the_order():
    np.testing.assert_array_equal(shard(np.arange(8), 4).reshape(-1), np.arange(8))
