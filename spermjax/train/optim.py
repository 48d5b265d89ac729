"""AdamW with warm-up and cosine decay, parameters frozen or slowed by pattern."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from spermjax.config import Experiment, Optim, Schedule
from spermjax.train.loss_scale import with_loss_scale
from spermjax.train.patterns import FROZEN, TRAINED, multipliers, partition

Norm = Callable[[Any], jax.Array]

EPSILON = 1e-8
"""What Adam adds to the root of the second moment."""


def learning_rate_schedule(optim: Optim, schedule: Schedule, total_steps: int) -> optax.Schedule:
    """Linear warm-up to the peak, then a cosine (Loshchilov & Hutter 2017) to the end.

    Args:
        optim: peak learning rate.
        schedule: share of warm-up, and the share of the peak at the end.
        total_steps: optimiser steps in the run.
    """
    warmup = round(schedule.warmup * total_steps)
    share = optax.warmup_cosine_decay_schedule(
        init_value=1.0 / (warmup + 1),
        peak_value=1.0,
        warmup_steps=warmup,
        decay_steps=max(total_steps, warmup + 1),
        end_value=schedule.final_learning_rate,
    )
    return lambda step: optim.learning_rate * share(step)


def optimizer_of(
    experiment: Experiment, total_steps: int, norm: Norm = optax.tree.norm
) -> optax.GradientTransformationExtraArgs:
    """The optimiser of an experiment; in float16 its state holds the loss scale.

    Raises:
        ConfigError: from `init`, as `optimizer`.
    """
    transformation = optimizer(experiment.optim, experiment.schedule, total_steps, norm)
    if experiment.model.dtype != "float16":
        return transformation
    return with_loss_scale(transformation, experiment.optim.loss_scale)


def kernels(params):
    """True for the parameters that decay: kernels of linear maps and convolutions."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def optimizer(
    optim: Optim, schedule: Schedule, total_steps: int, norm: Norm = optax.tree.norm
) -> optax.GradientTransformationExtraArgs:
    """AdamW (Loshchilov & Hutter 2019) after clipping by the global norm.

    Frozen parameters take no part in the norm. Those that are unfrozen start then with
    moments of their own, corrected for their own age.

    Args:
        optim: learning rate, decay, what is frozen until when, multipliers by pattern.
        schedule: shape of the learning rate.
        total_steps: optimiser steps in the run.
        norm: global norm of gradients, which may lie in slices on many devices.

    Raises:
        ConfigError: from `init`, for a pattern that matches nothing or leaves a parameter out.
    """
    moments = optax.chain(
        adam(optim.beta1, optim.beta2),
        optax.add_decayed_weights(optim.weight_decay, mask=kernels),
    )

    def until_unfrozen(transformation: optax.GradientTransformation) -> optax.GradientTransformation:
        if not optim.freeze:
            return transformation
        frozen = optax.set_to_zero()
        if optim.unfreeze_at is not None:
            start = round(optim.unfreeze_at * total_steps)

            def unfrozen(step: Any, **unused: Any) -> jax.Array:
                del unused
                return step >= start

            frozen = optax.transforms.conditionally_mask(transformation, unfrozen)
        return optax.partition(
            {TRAINED: transformation, FROZEN: frozen}, lambda params: partition(params, optim.freeze)
        )

    return optax.chain(
        *([until_unfrozen(optax.identity())] if optim.freeze else []),
        *([] if optim.clip is None else [clip(optim.clip, norm)]),
        until_unfrozen(moments),
        *([scale_by_pattern(optim.learning_rates)] if optim.learning_rates else []),
        optax.scale_by_learning_rate(learning_rate_schedule(optim, schedule, total_steps)),
    )


def adam(beta1: float, beta2: float) -> optax.GradientTransformationExtraArgs:
    """Adam (Kingma & Ba 2015, algorithm 1) as optax has it, told by `taken` whether the step counts.

    Moments stay as they were where it doesn't. Whoever selects behind the update makes XLA compute the moments once
    more for the parameters and copy the old ones: on a CPU, twice the time.
    """
    plain = optax.scale_by_adam(beta1, beta2)

    def update(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        *,
        taken: jax.Array | bool = True,
        **unused: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        del params, unused
        assert isinstance(state, optax.ScaleByAdamState)
        count = optax.safe_increment(state.count)
        mean = optax.tree.where(taken, optax.tree.update_moment(updates, state.mu, beta1, 1), state.mu)
        square = optax.tree.where(taken, optax.tree.update_moment_per_elem_norm(updates, state.nu, beta2, 2), state.nu)
        scaled = jax.tree.map(
            lambda mean, square: mean / (jnp.sqrt(square) + EPSILON),
            optax.tree.bias_correction(mean, beta1, count),
            optax.tree.bias_correction(square, beta2, count),
        )
        return scaled, optax.ScaleByAdamState(jnp.where(taken, count, state.count), mean, square)

    return optax.GradientTransformationExtraArgs(plain.init, update)


def taken_or_kept(taken: jax.Array, new: Any, old: Any) -> Any:
    """The new state where the step counts, else the old one; of Adam always the new, which has looked itself."""
    return jax.tree.map(
        lambda new, old: new if isinstance(new, optax.ScaleByAdamState) else jnp.where(taken, new, old),
        new,
        old,
        is_leaf=lambda part: isinstance(part, optax.ScaleByAdamState),
    )


def clip(largest: float, norm: Norm) -> optax.GradientTransformation:
    """Scales gradients down to a global norm (Pascanu et al. 2013), if theirs is greater."""

    def update(updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None):
        del params
        found = norm(updates)
        return jax.tree.map(lambda g: jnp.where(found < largest, g, g / found * largest), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def scale_by_pattern(rates: tuple[str, ...]) -> optax.GradientTransformation:
    """Scales updates by the multipliers of their parameters' patterns."""

    def init(params: optax.Params) -> optax.EmptyState:
        multipliers(params, rates)
        return optax.EmptyState()

    def update(updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None):
        del params
        return jax.tree.map(lambda rate, update: rate * update, multipliers(updates, rates), updates), state

    return optax.GradientTransformation(init, update)


def without_gradient(params: Any, optim: Optim) -> Any:
    """The parameters, those that are never trained cut off from the gradient, which saves its computation."""
    if not optim.freeze or optim.unfreeze_at is not None:
        return params
    labels = partition(params, optim.freeze)
    return jax.tree.map(lambda label, p: jax.lax.stop_gradient(p) if label == FROZEN else p, labels, params)
