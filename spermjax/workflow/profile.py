"""Where a training step's time goes: a trace, and a table of parts that are timed each by itself."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from spermjax.data.batch import PackedBatch, unpack
from spermjax.data.examples import Dataset
from spermjax.data.pipeline import gather, training_batches
from spermjax.models.attention.contract import ATTENTION
from spermjax.models.build import build_model
from spermjax.parallel import AXIS
from spermjax.run import Run, write_json
from spermjax.train.session import Session, build_session
from spermjax.workflow.estimate import prepared, step_flops

REPEATS, TRACED = 10, 3
PRODUCT = 1024
"""Side of the matrices whose product tells the peak."""


def profile(run: Run, dataset: Dataset) -> dict[str, Any]:
    """Times a run's step and its parts, and writes `profile/table.json` and a trace beside it.

    Parts are programs of their own, on the same devices and the same batch, so they need
    not add up to the step, which the compiler fuses as one: `rest` is what the step takes
    beyond forward, backward and optimiser (augmentation, guidance, averages, checks).
    Times are medians of some repetitions, in seconds.

    Args:
        run: its configuration is measured; nothing of its state is read or changed.
        dataset: of the run.
    """
    experiment = run.experiment()
    session = build_session(experiment, dataset)
    examples, size = dataset.splits["train"], experiment.schedule.batch_size
    yields = "index" if session.resident else "batch"
    batches = training_batches(examples, size, experiment.seed, sampling=experiment.data.sampling, yields=yields)
    batch = next(batches)

    begun = time.perf_counter()
    lowered = session.train_step.lower(session.place(session.initial_state()), batch)
    traced = time.perf_counter()
    compiled = lowered.compile()
    compile_seconds = time.perf_counter() - traced

    state = session.place(session.initial_state())
    state, step = _steps(session, state, lambda: batch)
    state, looped = _steps(session, state, lambda: next(batches))
    seconds = {"input": _median(lambda: session.train_step.split(next(batches))), **_parts(session, examples, size)}
    with jax.profiler.trace(str(run.path / "profile")):
        _steps(session, state, lambda: next(batches), TRACED)

    whole = seconds["forward"] + seconds["backward"] + seconds["optimiser"]
    seconds |= {"rest": max(0.0, step - whole), "host": max(0.0, looped - step), "step": step}
    devices = len(session.devices)
    flops = devices * step_flops(prepared(experiment, devices, None))
    peak = _peak(session.devices)
    memory: Any = compiled.memory_analysis()
    table = {
        "seconds": seconds,
        "devices": devices,
        "examples": size,
        "flops": flops,
        "peak_flops_per_second": peak,
        "utilisation": flops / step / peak,
        "trace_seconds": traced - begun,
        "compile_seconds": compile_seconds,
        "memory": {
            "arguments": memory.argument_size_in_bytes,
            "temporary": memory.temp_size_in_bytes,
        },
    }
    write_json(run.path / "profile" / "table.json", table)
    return table


def _steps(session: Session, state: Any, batch: Callable[[], Any], repeats: int = REPEATS) -> tuple[Any, float]:
    """The state after some steps, and the median time of one."""
    seconds = []
    for number in range(repeats + 1):
        begun = time.perf_counter()
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            state, metrics = session.train_step(state, batch())
            jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - begun)
    return state, statistics.median(seconds[1:])


def _median(function: Callable[[], Any]) -> float:
    """Median time of a call, the first apart, which compiles."""
    seconds = []
    for _ in range(REPEATS + 1):
        begun = time.perf_counter()
        jax.block_until_ready(function())
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds[1:])


def _parts(session: Session, examples: Any, size: int) -> dict[str, float]:
    """Forward, backward (what a gradient takes beyond it), capture (the same) and optimiser."""
    experiment = session.experiment
    model = build_model(experiment.model, session.dataset.task.num_outputs, AXIS)
    state = session.initial_state()
    packed = gather(examples, np.arange(size) % len(examples))

    def loss(params: Any, statistics: Any, given: PackedBatch, captured: tuple[str, ...]) -> tuple[jax.Array, Any]:
        inner = slice(examples.margin, given.image.shape[1] - examples.margin)
        image = unpack(given).image[:, inner, inner]
        variables, key = {"params": params, **statistics}, jax.random.key(0)
        logits, kept = model.apply(
            variables, image, train=True, rngs={"dropout": key}, mutable=[*statistics, *captured]
        )
        return jnp.square(logits).mean(), [kept.get(name) for name in captured]

    def forward(params: Any, statistics: Any, given: PackedBatch) -> Any:
        return loss(params, statistics, given, ())

    def capture(params: Any, statistics: Any, given: PackedBatch) -> Any:
        return loss(params, statistics, given, (ATTENTION,))

    def gradient(params: Any, statistics: Any, given: PackedBatch) -> Any:
        return jax.grad(lambda params: loss(params, statistics, given, ())[0])(params)

    def mapped(function: Callable) -> float:
        program = jax.pmap(function, axis_name=AXIS, in_axes=(None, None, 0), devices=session.devices)
        count = len(session.devices)
        given = jax.tree.map(lambda x: x.reshape(count, len(x) // count, *x.shape[1:]), packed)
        return _median(lambda: program(state.params, state.statistics, given))

    @jax.jit
    def update(gradients: Any, moments: Any, params: Any) -> Any:
        updates, moments = session.optimizer.update(gradients, moments, params)
        return optax.apply_updates(params, updates), moments

    once = mapped(forward)
    return {
        "forward": once,
        "backward": max(0.0, mapped(gradient) - once),
        "capture": max(0.0, mapped(capture) - once),
        "optimiser": _median(lambda: update(state.params, state.optimizer, state.params)),
    }


def _peak(devices: list[jax.Device]) -> float:
    """Floating-point operations per second of a large matrix product on all devices at once."""
    side = np.ones((len(devices), PRODUCT, PRODUCT), np.float32)
    product = jax.pmap(lambda x: x @ x, devices=devices)
    placed = jax.pmap(lambda x: x, devices=devices)(side)
    return len(devices) * 2 * PRODUCT**3 / _median(lambda: product(placed))


def rows(table: dict[str, Any]) -> list[tuple[str, str]]:
    """The table in words, for a terminal."""
    seconds = table["seconds"]
    shown = [(name, f"{1e3 * seconds[name]:.2f} ms, {seconds[name] / seconds['step']:.0%}") for name in seconds]
    return [
        *shown,
        ("operations", f"{table['flops'] / 1e9:.3g} GFLOP a step"),
        ("of the measured peak", f"{table['utilisation']:.0%} of {table['peak_flops_per_second'] / 1e9:.0f} GFLOP/s"),
        ("tracing and compiling", f"{table['trace_seconds']:.1f} s and {table['compile_seconds']:.1f} s"),
        *((f"memory, {name}", f"{size / 2**20:.1f} MiB on each device") for name, size in table["memory"].items()),
    ]
