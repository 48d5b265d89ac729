"""Explanations and metrics of a split, over all devices, in pieces that bound the memory."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from spermjax.data.batch import PackedBatch, unpack
from spermjax.data.examples import Examples
from spermjax.data.pipeline import padded_batches
from spermjax.data.task import Task
from spermjax.interpret.chunks import shared_over
from spermjax.interpret.methods import Method
from spermjax.interpret.model import Variables
from spermjax.interpret.suite import Measurements, applicable, deciding_regions, measure
from spermjax.parallel import AXIS, on_first, one_of_each_process, pmap_examples, pmap_same
from spermjax.workflow.pieces import Pieces

Measure = Callable[[Variables, Examples, Int[np.ndarray, "n"]], Measurements]


def over_devices(function: Callable, devices: Sequence[jax.Device], *, in_steps: bool) -> Callable:
    """`function(variables, *arrays)`, of examples along the arrays' leading axis, by all devices.

    Each device takes some of the examples, whose number the devices divide. Where there
    are fewer examples than devices, each takes all of them and some of the steps that
    `spermjax.interpret.chunks` counts; what is not done in steps is done on one device.

    Args:
        function: treats each example by itself.
        devices: that share the work.
        in_steps: whether the function, or a part of it, counts steps.
    """

    def sharing(*arguments: Any) -> Any:
        with shared_over(AXIS):
            return function(*arguments)

    spread = pmap_examples(function, devices)
    few = pmap_same(sharing, devices) if in_steps else on_first(function, devices)

    def run(variables: Any, *arrays: Any) -> Any:
        count = len(jax.tree.leaves(arrays)[0])
        return (few if count < len(devices) else spread)(variables, *arrays)

    return run


def make_measure(
    model: nn.Module,
    task: Task,
    devices: list[jax.Device],
    *,
    methods: Sequence[str | Method],
    metrics: Sequence[str] | None,
    chunk: int,
    has_parts: bool,
    cheap: bool = False,
    pieces: Pieces | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> Measure:
    """Builds a function that explains examples and measures the explanations.

    Args:
        model: without a mapped axis.
        task: what the logits mean, and which parts decide.
        devices: that share the work.
        methods: explanation methods or their names; those that the data can't serve are left out.
        metrics: names of metrics; None for all that apply.
        chunk: images in one forward pass on each device, and the most examples at once.
        has_parts: whether the examples have masks.
        cheap: leave out metrics that ask the model again (insertion, deletion).
        pieces: where finished pieces are kept, and taken from.
        advance: told how many examples are done, after each piece.

    Returns:
        `(variables, examples, targets) -> Measurements` of NumPy arrays, in order.
    """
    chosen_methods, chosen_metrics = applicable(model, methods, metrics, has_parts=has_parts)
    if cheap:
        chosen_metrics = tuple(metric for metric in chosen_metrics if "model" not in metric.needs)
    if devices[0].platform == "cpu" and any(each.alone for each in (*chosen_methods, *chosen_metrics)):
        devices = one_of_each_process(devices)
    deciding = deciding_regions(task)

    def of_chunk(variables: Variables, packed: PackedBatch, targets: jax.Array) -> Measurements:
        return measure(
            model,
            variables,
            unpack(packed),
            targets,
            methods=chosen_methods,
            metrics=chosen_metrics,
            deciding=deciding,
            kind=task.kind,
            chunk=chunk,
        )

    in_steps = any("chunk" in each.needs for each in (*chosen_methods, *chosen_metrics))
    mapped = over_devices(of_chunk, devices, in_steps=in_steps)

    def measured(variables: Variables, examples: Examples, targets: Int[np.ndarray, "n"]) -> Measurements:
        count = len(examples)
        at_once = count if count < len(devices) else len(devices) * min(chunk, math.ceil(count / len(devices)))
        results = []
        for number, batch in enumerate(padded_batches(examples, at_once)):
            result = None if pieces is None else pieces.load(number)
            if result is None:
                chosen = jnp.asarray(targets)[np.maximum(batch.index, 0)]
                result = jax.device_get(mapped(variables, batch, chosen))
                if pieces is not None:
                    pieces.save(number, result)
            results.append(result)
            advance(int(batch.weight.sum()))
        return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *results)

    return measured
