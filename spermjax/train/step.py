"""One training step, pure, the same under one device, pmap or a mesh."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from spermjax.config import Experiment
from spermjax.data.augment import augment
from spermjax.data.batch import Batch, PackedBatch, unpack
from spermjax.data.task import Task
from spermjax.interpret.capture import by_layer
from spermjax.models.attention.contract import ATTENTION
from spermjax.models.layers import first_slot
from spermjax.parallel import fsdp
from spermjax.train.accumulate import accumulate
from spermjax.train.guidance import (
    deciding_table,
    guidance_count,
    guidance_loss,
    guidance_weight,
    is_guided,
    target_parts,
)
from spermjax.train.keys import named, per_example
from spermjax.train.loss_scale import SMALLEST, rescaled, scale_of
from spermjax.train.losses import classification_loss, classification_normaliser, targets_of
from spermjax.train.mixing import mix
from spermjax.train.optim import learning_rate_schedule, taken_or_kept, without_gradient
from spermjax.train.spikes import observe
from spermjax.train.state import TrainState, Variables, update_average

Means = dict[str, Float[Array, ""]]
StepFunction = Callable[[TrainState, PackedBatch], tuple[TrainState, Means]]


class Prepared(NamedTuple):
    """A device's share of a batch, or a part of it, augmented and mixed.

    Attributes:
        slots: place of each example in the global batch.
        batch: examples.
        soft: probability wanted of each output.
        known: which of them count.
    """

    slots: Int[Array, "batch"]
    batch: Batch
    soft: Float[Array, "batch outputs"]
    known: Bool[Array, "batch outputs"]


def make_train_step(
    experiment: Experiment,
    model: nn.Module,
    task: Task,
    optimizer: optax.GradientTransformationExtraArgs,
    weights: Float[np.ndarray, "outputs sides"],
    total_steps: int,
    axis_name: str | None,
    shards: Any = None,
) -> StepFunction:
    """Builds the training step.

    The step is a pure function of state and batch: its randomness is that of the seed
    and `state.step`, drawn per slot of the global batch. Each loss is a ratio of sums over the
    global batch, so gradients are those of one device on the whole batch, whether or not
    it is taken in parts. A step whose loss or gradient is not finite leaves the state as it
    was but for the step count, and reports `finite` 0; in float16 it halves the loss scale,
    and reports that only where the scale can't be halved or the loss itself is not finite.
    Spikes of the loss are treated as `experiment.checks` asks.

    Args:
        experiment: losses, augmentation, guidance, seed. Its seed and some of its numbers may be
            traced (see `spermjax.sweep.lanes`).
        model: built with the same `axis_name`.
        task: what labels and logits mean.
        optimizer: transformation of the gradients.
        weights: weight of each class, or of each side of each attribute.
        total_steps: steps in the run, for schedules.
        axis_name: mapped axis that splits the global batch, or None.
        shards: how parameters are sliced over that axis (a PartitionSpec each), or None
            where they lie whole on every device.

    Returns:
        `(state, packed batch) -> (state, metrics)`; metrics are scalars, equal on all devices.
    """
    guided = is_guided(experiment.guidance)
    table = jnp.asarray(deciding_table(task, experiment.guidance))
    sides = jnp.asarray(weights)
    schedule = learning_rate_schedule(experiment.optim, experiment.schedule, total_steps)
    root = jax.random.key(experiment.seed)

    def total(tree):
        # XLA copies all gradients where one device is summed over.
        alone = axis_name is None or jax.lax.axis_size(axis_name) == 1
        return tree if alone else jax.lax.psum(tree, axis_name)

    def total_of(loss: jax.Array, means: Means, gradients: Any) -> tuple[jax.Array, Means, Any]:
        if shards is None:
            return total((loss, means, gradients))
        loss, means = total((loss, means))
        return loss, means, fsdp.sum_whole(gradients, shards)

    def prepare(packed: PackedBatch, key: jax.Array) -> Prepared:
        size = packed.weight.shape[0]
        first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * size
        slots = first + jnp.arange(size)
        keys = per_example(named(key, "augment"), slots)
        batch = augment(keys, unpack(packed), experiment.augment, experiment.data.image_size)
        soft, known = targets_of(task, batch.label, experiment.loss.label_smoothing)
        return Prepared(slots, *mix(key, slots, batch, soft, known, experiment.loss))

    def normalisers(given: Prepared) -> Means:
        """Of each loss over the global batch."""
        normaliser = classification_normaliser(task, given.soft, given.known, sides)
        sums = {"classification_loss": (normaliser * given.batch.weight).sum()}
        if guided:
            spec = model.attention_spec(given.batch.image.shape[1:3])
            wanted = target_parts(task, given.batch.label, table)
            sums["guidance_loss"] = guidance_count(experiment.guidance, spec, given.batch, wanted).sum()
        return total(sums)

    def loss_of(params: Any, statistics: Variables, given: Prepared, counts: Means, key: jax.Array, state: TrainState):
        batch = given.batch
        params = params if shards is None else fsdp.gather(params, shards)
        with first_slot(given.slots[0]):
            logits, mutated = model.apply(
                {"params": without_gradient(params, experiment.optim), **statistics},
                batch.image,
                train=True,
                rngs={"dropout": named(key, "dropout")},
                mutable=[*statistics, *([ATTENTION] if guided else [])],
            )
        losses, _ = classification_loss(task, logits, given.soft, given.known, sides, experiment.loss.focal)
        sums = {"classification_loss": (losses * batch.weight).sum()}
        if guided:
            attention = by_layer(mutated[ATTENTION], "weights", rank=4)
            spec = model.attention_spec(batch.image.shape[1:3])
            losses, _ = guidance_loss(
                experiment.guidance, attention, spec, batch, target_parts(task, batch.label, table)
            )
            sums["guidance_loss"] = losses.sum()
        means = {name: value / jnp.maximum(counts[name], 1e-12) for name, value in sums.items()}
        loss = means["classification_loss"]
        if guided:
            loss = loss + guidance_weight(experiment.guidance, state.step, total_steps) * means["guidance_loss"]
        scale = scale_of(state.optimizer)
        scaled = loss if scale is None else scale.value * loss
        return scaled, (loss, means, {name: mutated[name] for name in statistics})

    # Slices of parameters are gathered anew for the backward pass.
    differentiate = jax.value_and_grad(loss_of if shards is None else fsdp.gathered_again(loss_of), has_aux=True)

    def train_step(state: TrainState, packed: PackedBatch) -> tuple[TrainState, Means]:
        key = jax.random.fold_in(root, state.step)
        prepared = prepare(packed, key)
        counts = normalisers(prepared)

        def of_part(statistics: Variables, part: Prepared):
            (_, (loss, means, statistics)), gradients = differentiate(
                state.params, statistics, part, counts, key, state
            )
            return (loss, means, gradients), statistics

        sums, statistics = accumulate(of_part, state.statistics, prepared, experiment.optim.accumulate)
        loss, means, gradients = total_of(*sums)
        scale = scale_of(state.optimizer)
        if scale is not None:
            gradients = jax.tree.map(lambda g: g / scale.value, gradients)
        gradient_norm = optax.tree.norm(gradients) if shards is None else fsdp.norm(gradients, shards)
        finite = jnp.isfinite(loss) & jnp.isfinite(gradient_norm)
        # An overflow that a smaller scale can mend is no divergence.
        sound = finite if scale is None else finite | (jnp.isfinite(loss) & (scale.value > SMALLEST))

        taken, factor, watch, watched = finite, 1.0, state.watch, {}
        if watch is not None:
            watch, wanted, factor, watched = observe(watch, loss, sound, experiment.checks)
            taken = finite & wanted
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params, taken=taken)
        params = optax.apply_updates(state.params, jax.tree.map(lambda update: factor * update, updates))
        after = dataclasses.replace(state, params=params, statistics=statistics, optimizer=optimizer_state)
        if state.average is not None:
            average = update_average(state.average, after.variables, state.step, experiment.optim.ema)
            after = dataclasses.replace(after, average=average)
        after = taken_or_kept(taken, after, state)
        metrics = {
            "loss": loss,
            **means,
            "gradient_norm": gradient_norm,
            "learning_rate": schedule(state.step),
            "finite": sound.astype(jnp.float32),
            **watched,
        }
        if scale is not None:
            adjusted = scale.adjusted(finite, experiment.optim.loss_scale_every)
            after = dataclasses.replace(after, optimizer=rescaled(after.optimizer, adjusted))
            metrics["loss_scale"] = scale.value
        return dataclasses.replace(after, step=state.step + 1, watch=watch), metrics

    return train_step
