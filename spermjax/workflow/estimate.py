"""What a step would cost on machines that are not at hand: memory from the compiled step, the rest on paper."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from spermjax.config import Experiment, Mode
from spermjax.data.batch import PackedBatch, shard
from spermjax.data.catalogue import builder_class
from spermjax.data.examples import Dataset, Examples, task_of
from spermjax.data.prepare import default_data_dir
from spermjax.data.task import Task
from spermjax.errors import ConfigError
from spermjax.models.build import build_model
from spermjax.models.named import sized
from spermjax.parallel.traffic import traffic
from spermjax.train.losses import class_weights
from spermjax.train.optim import optimizer_of
from spermjax.train.session import abstract_state, build_session
from spermjax.train.state import TrainState, state_specs
from spermjax.train.step import make_train_step
from spermjax.validation import validate


@dataclasses.dataclass(frozen=True)
class Work:
    """What a device does in a step, on paper.

    Attributes:
        mode: of `--parallel.mode`.
        devices: in the row.
        state_bytes: of parameters, their average and the optimiser's state on each device.
        sent_bytes: that each device sends, by collective (see `traffic`).
    """

    mode: Mode
    devices: int
    state_bytes: int
    sent_bytes: dict[str, float]

    def seconds(self, flops: float, peak: float, bandwidth: float) -> tuple[float, float]:
        """Time of the arithmetic at its peak, and of the network.

        Args:
            flops: of one device in a step.
            peak: floating-point operations per second of one device.
            bandwidth: bytes per second that one device sends while it receives as many.
        """
        return flops / peak, sum(self.sent_bytes.values()) / bandwidth


@dataclasses.dataclass(frozen=True)
class Memory:
    """What the compiled step takes on each device, in bytes.

    Attributes:
        arguments: the state and the device's share of the batch, as bytes of images.
        temporary: what it computes with; the compiler's plan.
        peak: arguments, results that don't take an argument's place, and temporary.
    """

    arguments: int
    temporary: int
    peak: int


def prepared(experiment: Experiment, devices: int, per_device: int | None) -> Experiment:
    """An experiment as it would run on so many devices.

    Args:
        experiment: as configured.
        devices: over which a batch is split.
        per_device: examples in a step on each; the configured batch is split where it is not given.

    Raises:
        ConfigError: the batch can't be split so, or the experiment can't be run at all.
    """
    total = experiment.schedule.batch_size
    if per_device is None:
        if total % devices:
            raise ConfigError(
                f"--schedule.batch-size {total} can't be split over {devices} devices; give --per-device."
            )
        per_device = total // devices
    experiment = dataclasses.replace(
        experiment,
        model=dataclasses.replace(sized(experiment.model), weights=None),
        data=dataclasses.replace(experiment.data, feed="stream"),
        schedule=dataclasses.replace(
            experiment.schedule, batch_size=per_device * devices, steps=experiment.schedule.steps or 1000
        ),
        parallel=dataclasses.replace(experiment.parallel, devices=devices),
    )
    validate(experiment)
    return experiment


def parameters(state: TrainState) -> int:
    """How many there are."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params))


def shapes(experiment: Experiment) -> TrainState:
    """Shapes and types of an experiment's state."""
    return abstract_state(experiment, _model(experiment), optimizer_of(experiment, _steps(experiment)))


def on_paper(state: TrainState, mode: Mode, devices: int) -> Work:
    """State and traffic of a device, without compiling anything.

    Args:
        state: shapes.
        mode: of `--parallel.mode`.
        devices: in the row.
    """
    specs = state_specs(state, devices)
    kept = 0
    for leaf, spec in zip(jax.tree.leaves(state), jax.tree.leaves(specs), strict=True):
        size = math.prod(leaf.shape) * leaf.dtype.itemsize
        kept += size // devices if mode == "fsdp" and spec else size
    return Work(mode, devices, kept, traffic(state.params, specs.params if mode == "fsdp" else None, devices))


def step_flops(experiment: Experiment) -> float:
    """Floating-point operations of one device in a step: forward, backward, augmentation and optimiser.

    As XLA counts them before it optimises; a multiplication and an addition are two. What
    is computed twice to save memory counts once.

    Args:
        experiment: as `prepared` gives it.
    """
    each = experiment.schedule.batch_size // (experiment.parallel.devices or 1)
    # Loops are counted as one turn, so there are none.
    plain = dataclasses.replace(
        experiment,
        model=dataclasses.replace(experiment.model, scan=False, remat=False),
        optim=dataclasses.replace(experiment.optim, accumulate=1),
    )
    task, optimizer = _task(plain), optimizer_of(plain, _steps(plain))
    model = build_model(plain.model, task.num_outputs)
    weights = class_weights(task, _placeholder(plain, task).label, plain.loss)
    step = make_train_step(plain, model, task, optimizer, weights, _steps(plain), None)
    cost = jax.jit(step).lower(abstract_state(plain, model, optimizer), _batch(plain, task, each)).cost_analysis()
    return float(cost["flops"]) if cost else math.nan


def compiled_memory(experiment: Experiment) -> Memory:
    """Compiles the step that a run would take, and reads off what it needs; nothing is computed.

    Args:
        experiment: as `prepared` gives it; JAX must have so many devices, which may be virtual.

    Raises:
        ConfigError: JAX has fewer devices, or its compiler doesn't tell.
    """
    task, mode, devices = _task(experiment), experiment.parallel.mode, experiment.parallel.devices or 1
    examples = _placeholder(experiment, task)
    dataset = Dataset(
        experiment.data.name, task, {"train": examples}, fingerprint="", protocol="", licence="", citation=""
    )
    session = build_session(experiment, dataset)
    batch = _batch(experiment, task, experiment.schedule.batch_size)
    if mode == "pmap":
        batch = jax.eval_shape(functools.partial(shard, devices=devices), batch)
    found = session.train_step.function.lower(session.abstract_state(), batch).compile().memory_analysis()
    if found is None:
        raise ConfigError(f"The compiler of {jax.default_backend()} doesn't tell what memory a program needs.")
    results = found.output_size_in_bytes - found.alias_size_in_bytes
    arguments, temporary = found.argument_size_in_bytes, found.temp_size_in_bytes
    return Memory(arguments, temporary, arguments + results + temporary)


def _steps(experiment: Experiment) -> int:
    assert experiment.schedule.steps is not None
    return experiment.schedule.steps


def _model(experiment: Experiment) -> Any:
    return build_model(experiment.model, _task(experiment).num_outputs)


def _task(experiment: Experiment) -> Task:
    """What the data set asks; it need not be prepared."""
    data = experiment.data
    cls, configuration = builder_class(data.name)
    root = None if data.manual_dir is None else cls.root(data.manual_dir)
    return task_of(cls.open(data.data_dir or default_data_dir(), configuration, root))


def _placeholder(experiment: Experiment, task: Task) -> Examples:
    """A few examples of the right form in the place of the training split."""
    count, size = 2 * task.num_outputs, experiment.data.image_size + 2 * experiment.data.margin
    label = np.arange(count, dtype=np.int32) % task.num_outputs
    if task.kind == "multi_attribute":
        label = np.arange(count * task.num_outputs, dtype=np.int32).reshape(count, -1) % 2
    return Examples(
        image=np.zeros((count, size, size, 3), np.uint8),
        parts=np.zeros((count, size, size), np.uint8),
        has_parts=np.ones(count, bool),
        label=label,
        id=tuple(map(str, range(count))),
        group=tuple(map(str, range(count))),
        margin=experiment.data.margin,
    )


def _batch(experiment: Experiment, task: Task, examples: int) -> PackedBatch:
    """Shapes of a batch."""
    size = experiment.data.image_size + 2 * experiment.data.margin
    label = (examples,) if task.kind == "single_label" else (examples, task.num_outputs)
    of: Any = jax.ShapeDtypeStruct
    return PackedBatch(
        image=of((examples, size, size, 3), jnp.uint8),
        parts=of((examples, size, size), jnp.uint8),
        has_parts=of((examples,), jnp.bool_),
        label=of(label, jnp.int32),
        weight=of((examples,), jnp.float32),
        index=of((examples,), jnp.int32),
    )
