"""Freezing, unfreezing and learning rates by pattern."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from spermjax.config import Optim, Schedule
from spermjax.data.pipeline import gather
from spermjax.errors import ConfigError
from spermjax.models.build import build_model
from spermjax.train.losses import class_weights
from spermjax.train.optim import adam, optimizer, taken_or_kept
from spermjax.train.session import build_session
from spermjax.train.step import make_train_step
from tests.train import tiny

PARAMS = {"body": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "head": {"kernel": jnp.ones(3)}}
SCHEDULE = Schedule(warmup=0.0, final_learning_rate=1.0)


def trajectory(steps=10, total=10, gradient=None, **options):
    """Parameters after each step under a constant gradient."""
    transformation = optimizer(Optim(learning_rate=0.1, weight_decay=0.0, clip=None, **options), SCHEDULE, total)
    params, state, path = PARAMS, transformation.init(PARAMS), [PARAMS]
    gradient = gradient or jax.tree.map(jnp.ones_like, PARAMS)
    update = jax.jit(transformation.update)
    for _ in range(steps):
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        path.append(params)
    return path, state


def test_without_patterns_it_is_adamw():
    """Witness: optax's own."""
    optim = Optim(clip=0.5, weight_decay=0.1)
    reference = optax.chain(
        optax.clip_by_global_norm(0.5),
        optax.adamw(1e-3, 0.9, 0.999, weight_decay=0.1, mask={"body": {"kernel": True, "bias": False}, "head": True}),
    )
    ours, gradient = optimizer(optim, SCHEDULE, 10), jax.tree.map(lambda p: 3 * p, PARAMS)
    actual, _ = ours.update(gradient, ours.init(PARAMS), PARAMS)
    expected, _ = reference.update(gradient, reference.init(PARAMS), PARAMS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), actual, expected)


def test_adam_is_that_of_optax_and_forgets_what_does_not_count():
    """Witness: optax's own, given the steps that count alone."""
    ours, theirs = adam(0.8, 0.95), optax.scale_by_adam(0.8, 0.95)
    state, reference = ours.init(PARAMS), theirs.init(PARAMS)
    rng = np.random.default_rng(0)
    for taken in (True, False, True, False, False, True):
        gradient = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), PARAMS)
        if not taken:
            gradient["head"]["kernel"][:] = np.nan
        updates, state = ours.update(gradient, state, PARAMS, taken=jnp.array(taken))
        if taken:
            expected, reference = theirs.update(gradient, reference)
            jax.tree.map(np.testing.assert_array_equal, updates, expected)
        jax.tree.map(np.testing.assert_array_equal, state, reference)


def test_what_does_not_count_is_kept_and_adam_looks_itself():
    moments, other = optax.ScaleByAdamState(jnp.array(3), jnp.ones(2), jnp.ones(2)), jnp.zeros(2)
    before = (optax.ScaleByAdamState(jnp.array(2), jnp.zeros(2), jnp.zeros(2)), jnp.ones(2))
    found = taken_or_kept(jnp.array(False), (moments, other), before)
    jax.tree.map(np.testing.assert_array_equal, found, (moments, before[1]))


def test_frozen_parameters_stay_and_keep_no_moments():
    path, state = trajectory(freeze=("body/.*",))
    np.testing.assert_array_equal(path[-1]["body"]["kernel"], 1.0)
    assert (path[-1]["head"]["kernel"] < 0.5).all()
    assert not any(leaf.shape == (2, 2) for leaf in jax.tree.leaves(state))


def test_unfrozen_parameters_start_as_at_a_first_step():
    path, _ = trajectory(freeze=("body/.*",), unfreeze_at=0.4)
    np.testing.assert_array_equal(path[4]["body"]["kernel"], 1.0)
    # Under a constant gradient each bias-corrected step of Adam is the learning rate itself.
    np.testing.assert_allclose(path[5]["body"]["kernel"], 0.9, rtol=1e-5)
    np.testing.assert_allclose(path[10]["body"]["kernel"], 0.4, rtol=1e-4)


def test_frozen_gradients_take_no_part_in_the_clipped_norm():
    huge = {"body": {"kernel": jnp.full((2, 2), 1e6), "bias": jnp.zeros(2)}, "head": {"kernel": jnp.full(3, 0.1)}}
    transformation = optimizer(Optim(clip=1.0, freeze=("body/.*",), beta1=0.0), SCHEDULE, 10)
    _, state = transformation.update(huge, transformation.init(PARAMS), PARAMS)
    assert any(np.allclose(leaf, 0.1) for leaf in jax.tree.leaves(state) if leaf.shape == (3,))


def test_the_first_pattern_that_matches_sets_the_rate():
    path, _ = trajectory(steps=1, learning_rates=("body/bias=0", "body/.*=0.5", ".*=2"))
    moved = jax.tree.map(lambda before, after: float((before - after).max()), path[0], path[1])
    np.testing.assert_allclose(moved["body"]["bias"], 0.0)
    np.testing.assert_allclose(moved["body"]["kernel"], 0.05, rtol=1e-4)
    np.testing.assert_allclose(moved["head"]["kernel"], 0.2, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rates": ("body/.*=1",)}, r"no pattern for head/kernel\."),
        ({"learning_rates": ("bdy/.*=1", ".*=1")}, r"matches 'bdy/\.\*'"),
        ({"learning_rates": (".*=fast",)}, "a number of 0 or more"),
        ({"freeze": ("heads/.*",)}, r"matches 'heads/\.\*'\. Paths are like body/bias"),
        ({"freeze": (".*",)}, "leaves nothing to train"),
    ],
)
def test_patterns_that_miss_are_errors(options, message):
    with pytest.raises(ConfigError, match=message):
        optimizer(Optim(**options), SCHEDULE, 10).init(PARAMS)


def test_a_linear_probe_trains_the_head_with_the_whole_model_s_gradient():
    """Witness: the head's update in a step that trains everything."""
    data = tiny.dataset()
    base = tiny.experiment()
    after = {}
    for freeze in ((), ("(?!head/).*",)):
        experiment = dataclasses.replace(base, optim=Optim(clip=None, freeze=freeze))
        session = build_session(experiment, data)
        weights = class_weights(data.task, data.splits["train"].label, experiment.loss)
        model = build_model(experiment.model, data.task.num_outputs)
        step = make_train_step(experiment, model, data.task, session.optimizer, weights, 10, None)
        before = session.initial_state()
        after[freeze] = jax.jit(step)(before, gather(data.splits["train"], np.arange(16)))[0].params
    probe, full = after[("(?!head/).*",)], after[()]
    np.testing.assert_allclose(probe["head"]["kernel"], full["head"]["kernel"], atol=1e-6)
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), probe, before.params)
    assert all(jax.tree.leaves(changed.pop("head")))
    assert not any(jax.tree.leaves(changed))
