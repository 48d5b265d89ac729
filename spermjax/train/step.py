"""One training step, pure, the same under one device, pmap or a mesh."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from spermjax.config import Experiment
from spermjax.data.augment import augment
from spermjax.data.batch import Batch, PackedBatch, unpack
from spermjax.data.task import Task
from spermjax.interpret.capture import by_layer
from spermjax.models.attention.contract import ATTENTION
from spermjax.train.guidance import deciding_table, guidance_loss, guidance_weight, target_parts
from spermjax.train.keys import named, per_example
from spermjax.train.losses import classification_loss, targets_of
from spermjax.train.mixing import mix
from spermjax.train.optim import learning_rate_schedule, without_gradient
from spermjax.train.spikes import observe
from spermjax.train.state import TrainState, Variables, update_average

Sums = dict[str, tuple[Float[Array, ""], Float[Array, ""]]]
StepFunction = Callable[[TrainState, PackedBatch], tuple[TrainState, dict[str, Float[Array, ""]]]]


def make_train_step(
    experiment: Experiment,
    model: nn.Module,
    task: Task,
    optimizer: optax.GradientTransformation,
    weights: Float[np.ndarray, "outputs sides"],
    total_steps: int,
    axis_name: str | None,
) -> StepFunction:
    """Builds the training step.

    The step is a pure function of state and batch: its randomness is that of the seed
    and `state.step`, drawn per slot of the global batch. Each loss is a ratio of sums over the
    global batch, so gradients are those of one device on the whole batch. A step whose
    loss or gradient is not finite leaves the state as it was but for the step count, and
    reports `finite` 0; spikes of the loss are treated as `experiment.checks` asks.

    Args:
        experiment: losses, augmentation, guidance, seed.
        model: built with the same `axis_name`.
        task: what labels and logits mean.
        optimizer: transformation of the gradients.
        weights: weight of each class, or of each side of each attribute.
        total_steps: steps in the run, for schedules.
        axis_name: mapped axis that splits the global batch, or None.

    Returns:
        `(state, packed batch) -> (state, metrics)`; metrics are scalars, equal on all devices.
    """
    guided = experiment.guidance.weight > 0
    table = jnp.asarray(deciding_table(task, experiment.guidance))
    schedule = learning_rate_schedule(experiment.optim, experiment.schedule, total_steps)
    root = jax.random.key(experiment.seed)

    def total(tree):
        return tree if axis_name is None else jax.lax.psum(tree, axis_name)

    def loss_sums(params: Any, statistics: Variables, batch: Batch, key: jax.Array, slots: jax.Array, step: jax.Array):
        soft, known = targets_of(task, batch.label, experiment.loss.label_smoothing)
        batch, soft, known = mix(key, slots, batch, soft, known, experiment.loss)
        logits, mutated = model.apply(
            {"params": without_gradient(params, experiment.optim), **statistics},
            batch.image,
            train=True,
            rngs={"dropout": named(key, "dropout")},
            mutable=[*statistics, *([ATTENTION] if guided else [])],
        )
        losses, normalisers = classification_loss(
            task, logits, soft, known, jnp.asarray(weights), experiment.loss.focal
        )
        sums: Sums = {"classification_loss": ((losses * batch.weight).sum(), (normalisers * batch.weight).sum())}
        if guided:
            attention = by_layer(mutated[ATTENTION], "weights", rank=4)
            spec = model.attention_spec(batch.image.shape[1:3])
            wanted = target_parts(task, batch.label, table)
            losses, defined = guidance_loss(experiment.guidance, attention, spec, batch, wanted)
            sums["guidance_loss"] = (losses.sum(), defined.sum())
        # Normalisers carry no gradient and are summed over devices before it is taken.
        means = {name: value / jnp.maximum(total(count), 1e-12) for name, (value, count) in sums.items()}
        loss = means["classification_loss"]
        if guided:
            loss = loss + guidance_weight(experiment.guidance, step, total_steps) * means["guidance_loss"]
        return loss, (means, {name: mutated[name] for name in statistics})

    def train_step(state: TrainState, packed: PackedBatch) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        size = packed.weight.shape[0]
        first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * size
        slots = first + jnp.arange(size)
        key = jax.random.fold_in(root, state.step)
        keys = per_example(named(key, "augment"), slots)
        batch = augment(keys, unpack(packed), experiment.augment, experiment.data.image_size)
        (loss, (means, statistics)), gradients = jax.value_and_grad(loss_sums, has_aux=True)(
            state.params, state.statistics, batch, key, slots, state.step
        )
        loss, means, gradients = total((loss, means, gradients))
        gradient_norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(loss) & jnp.isfinite(gradient_norm)

        taken, watch, watched = finite, state.watch, {}
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        if watch is not None:
            watch, taken, factor, watched = observe(watch, loss, finite, experiment.checks)
            updates = jax.tree.map(lambda update: factor * update, updates)
        params = optax.apply_updates(state.params, updates)
        after = dataclasses.replace(state, params=params, statistics=statistics, optimizer=optimizer_state)
        if state.average is not None:
            average = update_average(state.average, after.variables, state.step, experiment.optim.ema)
            after = dataclasses.replace(after, average=average)
        after = jax.tree.map(lambda new, old: jnp.where(taken, new, old), after, state)
        metrics = {
            "loss": loss,
            **means,
            "gradient_norm": gradient_norm,
            "learning_rate": schedule(state.step),
            "finite": finite.astype(jnp.float32),
            **watched,
        }
        return dataclasses.replace(after, step=state.step + 1, watch=watch), metrics

    return train_step
