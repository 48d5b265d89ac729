"""Everything that a run computes with, built once from the experiment and its data."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import numpy as np
import optax
from jaxtyping import Float

from spermjax.config import Experiment
from spermjax.cores import few_cores
from spermjax.data.batch import BatchIndex, PackedBatch, unpack
from spermjax.data.examples import Dataset, Examples
from spermjax.data.pipeline import fits_on_device, gather, padded_batches, whole
from spermjax.evaluate.views import seen
from spermjax.models.build import build_model, init_variables
from spermjax.models.pretrained import load_weights
from spermjax.parallel import (
    AXIS,
    WHOLE,
    Step,
    choose_devices,
    fsdp,
    inward,
    mesh_step,
    outward,
    own,
    place,
    pmap_examples,
    pmap_step,
    replicate,
    unslice,
)
from spermjax.train.keys import named
from spermjax.train.losses import class_weights
from spermjax.train.optim import optimizer_of
from spermjax.train.state import TrainState, Variables, create_state, state_specs
from spermjax.train.step import make_train_step


@dataclasses.dataclass(frozen=True)
class Session:
    """The compiled parts of a run.

    Attributes:
        experiment: what was asked for.
        dataset: its data, decoded.
        devices: that share each batch, of all processes.
        model: for evaluation and explanation; pure, without a mapped axis.
        optimizer: transformation of the gradients.
        total_steps: steps in the run.
        steps_per_epoch: not rounded; batches may span epochs.
        resident: whether the training examples lie on the devices, so that a step needs
            their places only.
        train_step: `(state, packed batch) -> (state, metrics)`; or `(state, index of the
            batch)` where the examples are resident.
        specs: how the state is sliced over the devices, or None where it is whole on each.
    """

    experiment: Experiment
    dataset: Dataset
    devices: list[jax.Device]
    model: nn.Module
    optimizer: optax.GradientTransformation
    total_steps: int
    steps_per_epoch: float
    resident: bool
    train_step: Step
    specs: TrainState | None

    def initial_state(self) -> TrainState:
        """The state before the first step; a function of the seed, and of pretrained weights if there are any.

        Raises:
            ConfigError: a pattern of parameters matches none, or leaves one out.
            DataError: the weights can't be read, or don't fit the model.
        """
        # One program, which the compilation cache keeps, in place of one for each shape.
        state = jax.jit(functools.partial(state_of, self.experiment, optimizer=self.optimizer))
        return state(initial_variables(self.experiment, self.model))

    def abstract_state(self) -> TrainState:
        """Shapes and types of the state; neither computed nor read."""
        return abstract_state(self.experiment, self.model, self.optimizer)

    def place(self, state: TrainState) -> TrainState:
        """A state on the session's devices, as `train_step` wants it."""
        if self.experiment.parallel.mode == "pmap":
            return replicate(state, self.devices)
        return place(state, self.devices, self.specs or WHOLE)

    def whole(self, variables: Variables) -> Variables:
        """Variables of a placed state whole on each of this process's devices, for evaluation."""
        return inward(variables if self.specs is None else unslice(variables, self.devices))

    def everywhere(self, state: TrainState) -> TrainState:
        """A placed state as arrays on all devices, those of other processes among them."""
        return outward(state, self.devices)


def state_of(experiment: Experiment, variables: Variables, optimizer: optax.GradientTransformation) -> TrainState:
    """A state with all that an experiment keeps beside the variables."""
    watched = experiment.checks.on_spike != "off"
    return create_state(variables, optimizer, averaged=experiment.optim.ema > 0, watched=watched)


def initial_variables(experiment: Experiment, model: nn.Module) -> Variables:
    """A model's variables before the first step.

    Raises:
        DataError: pretrained weights can't be read, or don't fit the model.
    """
    config, size = experiment.model, experiment.data.image_size
    variables = init_variables(model, named(jax.random.key(experiment.seed), "parameters"), size)
    if config.weights is None:
        return variables
    return load_weights(config.weights, model, variables, size, config.fresh)


def abstract_state(experiment: Experiment, model: nn.Module, optimizer: optax.GradientTransformation) -> TrainState:
    """Shapes and types of an experiment's state; nothing is computed."""

    def state() -> TrainState:
        variables = init_variables(model, jax.random.key(0), experiment.data.image_size)
        return state_of(experiment, variables, optimizer)

    return jax.eval_shape(state)


def devices_of_step(experiment: Experiment) -> list[jax.Device]:
    """The devices that share a training step: what was asked for, or the most that divide the batch; of few cores, one.

    Raises:
        ConfigError: they don't divide the batch.
    """
    wanted = experiment.parallel.devices
    if wanted is None and experiment.parallel.mode != "fsdp" and jax.default_backend() == "cpu" and few_cores():
        wanted = 1
    return choose_devices(wanted, experiment.schedule.batch_size, experiment.optim.accumulate)


def build_session(experiment: Experiment, dataset: Dataset, *, devices: Sequence[jax.Device] | None = None) -> Session:
    """Builds model, optimiser and step, and places resident examples; nothing is compiled yet.

    Args:
        experiment: what is to be run.
        dataset: its data, decoded.
        devices: that share each batch; `devices_of_step` where not given.

    Raises:
        ConfigError: the devices and parts don't divide the batch, or guidance names what isn't there.
    """
    schedule = experiment.schedule
    train = dataset.splits["train"]
    devices = devices_of_step(experiment) if devices is None else list(devices)
    steps_per_epoch = len(train) / schedule.batch_size
    total_steps = schedule.steps or max(1, round(schedule.epochs * steps_per_epoch))
    outputs, mode = dataset.task.num_outputs, experiment.parallel.mode
    model, transformation, specs = build_model(experiment.model, outputs), optimizer_of(experiment, total_steps), None
    sliced = transformation
    if mode == "fsdp":
        specs = state_specs(abstract_state(experiment, model, transformation), len(devices))
        sliced = optimizer_of(experiment, total_steps, functools.partial(fsdp.norm, specs=specs.params))
    step = make_train_step(
        experiment,
        build_model(experiment.model, outputs, AXIS),
        dataset.task,
        sliced,
        class_weights(dataset.task, train.label, experiment.loss),
        total_steps,
        AXIS,
        None if specs is None else specs.params,
    )
    feed = experiment.data.feed
    resident = feed == "device" or (feed == "auto" and fits_on_device(train, own(devices)))

    def resident_step(state: TrainState, chosen: BatchIndex, stored: PackedBatch):
        return step(state, gather(stored, chosen.index))

    chosen_step, stored = (resident_step, (whole(train),)) if resident else (step, ())
    return Session(
        experiment=experiment,
        dataset=dataset,
        devices=devices,
        model=model,
        optimizer=transformation,
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
        resident=resident,
        train_step=pmap_step(chosen_step, devices, *stored)
        if mode == "pmap"
        else mesh_step(chosen_step, devices, *stored, specs=specs or WHOLE),
        specs=specs,
    )


def make_predict(model: nn.Module, devices: list[jax.Device], batch_size: int) -> Callable[..., np.ndarray]:
    """Builds the exact evaluation of a split: every example once, on any number of devices.

    Args:
        model: without a mapped axis.
        devices: that share each batch.
        batch_size: examples at once; the number of devices divides it.

    Returns:
        `(variables, examples, view=0) -> logits`, `float32[len(examples), outputs]`, in order;
        a view other than 0 mirrors or turns the images (see `spermjax.evaluate.views`).
    """

    def logits_of(variables: Variables, packed: PackedBatch, *view: jax.Array):
        image = unpack(packed).image
        return model.apply(variables, jax.vmap(seen)(image, *view) if view else image)

    forward = pmap_examples(logits_of, devices)

    def predict(variables: Variables, examples: Examples, view: int = 0) -> Float[np.ndarray, "n outputs"]:
        turned = (np.full(batch_size, view, np.int32),) if view else ()
        batches = padded_batches(examples, batch_size)
        return np.concatenate([forward(variables, batch, *turned) for batch in batches])[: len(examples)]

    return predict
