"""Computes of each value only the part that the result asks for.

Logits that are read from the class token ask for one row of the last tokens; the
operations before them still give all rows, and neither JAX nor XLA leaves the others
out. Here a function's program is walked from its result backwards, and each operation
is told which box (a span on each axis) of its result is asked for. Operations that
have no rule give all of it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from spermjax.interpret.program import trace

Shape = tuple[int, ...]
Box = tuple[tuple[int, int], ...]
"""First and one past the last index on each axis."""

Needs = tuple[list[Box], dict[str, Any]]
"""What an operation needs for a box of its result: boxes of its operands, and other values of its parameters."""

Rule = Callable[[Mapping[str, Any], Sequence[Shape], Box], Needs | None]
"""From parameters, operands' shapes and the box asked for; None where the whole is needed."""


def narrowed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of arrays, its results a tree of arrays, for less work where it reads parts of its values."""

    def narrow(*arguments: Any) -> Any:
        program = trace(function, *arguments)
        shapes = {slot: value.shape for slot, value in jax.eval_shape(program.run, *arguments).items()}
        asked = {slot: _whole(shapes[slot]) for slot in jax.tree.leaves(program.outputs)}
        plan = []
        for equation in reversed(program.equations):
            if asked.keys().isdisjoint(equation.outputs):
                continue
            operands = [shapes[slot] for slot in equation.inputs]
            rule = RULES.get(equation.primitive.name)
            found = rule and rule(equation.params, operands, asked[equation.outputs[0]])
            if found is None:
                asked.update((slot, _whole(shapes[slot])) for slot in equation.outputs)
                found = [_whole(shape) for shape in operands], {}
            boxes, changes = found
            for slot, box in zip(equation.inputs, boxes, strict=True):
                asked[slot] = _around(asked.get(slot, box), box)
            plan.append((equation, boxes, changes))

        given = {**program.constants, **dict(zip(program.inputs, jax.tree.leaves(arguments), strict=True))}
        values = {slot: (value, _whole(shapes[slot])) for slot, value in given.items()}
        for equation, boxes, changes in reversed(plan):
            operands = [_part(*values[slot], box) for slot, box in zip(equation.inputs, boxes, strict=True)]
            results = dataclasses.replace(equation, params={**equation.params, **changes})(*operands)
            values.update((slot, (value, asked[slot])) for slot, value in zip(equation.outputs, results, strict=True))
        return jax.tree.map(lambda slot: values[slot][0], program.outputs)

    return narrow


def _whole(shape: Shape) -> Box:
    return tuple((0, size) for size in shape)


def _sizes(box: Box) -> Shape:
    return tuple(stop - start for start, stop in box)


def _around(one: Box, other: Box) -> Box:
    """The smallest box that holds both."""
    return tuple((min(a, c), max(b, d)) for (a, b), (c, d) in zip(one, other, strict=True))


def _part(value: jax.Array, held: Box, asked: Box) -> jax.Array:
    """A box of a value of which another, larger one is held."""
    if held == asked:
        return value
    return value[tuple(slice(a - first, b - first) for (a, b), (first, _) in zip(asked, held, strict=True))]


def _elementwise(params: Mapping[str, Any], operands: Sequence[Shape], box: Box) -> Needs:
    del params

    def spans(shape: Shape) -> Box:
        # A scalar, and an axis of one, serve all elements.
        return tuple((0, 1) if n == 1 else span for n, span in zip(shape, box, strict=bool(shape)))

    return [spans(shape) for shape in operands], {}


def _broadcast(params: Mapping[str, Any], operands: Sequence[Shape], box: Box) -> Needs:
    axes = zip(operands[0], params["broadcast_dimensions"], strict=True)
    return [tuple((0, 1) if n == 1 else box[axis] for n, axis in axes)], {"shape": _sizes(box)}


def _reduce(params: Mapping[str, Any], operands: Sequence[Shape], box: Box) -> Needs:
    kept = iter(box)
    return [tuple((0, n) if axis in params["axes"] else next(kept) for axis, n in enumerate(operands[0]))], {}


def _product(params: Mapping[str, Any], operands: Sequence[Shape], box: Box) -> Needs:
    contracted, batch = params["dimension_numbers"]
    kept = iter(box[len(batch[0]) :])
    boxes = []
    for shape, summed, shared in zip(operands, contracted, batch, strict=True):
        spans = dict(zip(shared, box[: len(shared)], strict=True)) | {axis: (0, shape[axis]) for axis in summed}
        boxes.append(tuple(spans[axis] if axis in spans else next(kept) for axis in range(len(shape))))
    return boxes, {}


def _transpose(params: Mapping[str, Any], operands: Sequence[Shape], box: Box) -> Needs:
    del operands
    spans = dict(zip(params["permutation"], box, strict=True))
    return [tuple(spans[axis] for axis in range(len(box)))], {}


def _reshape(params: Mapping[str, Any], operands: Sequence[Shape], box: Box) -> Needs | None:
    """Axes that are split or merged must be asked for whole; those before and after them need not."""
    before, after = operands[0], params["new_sizes"]
    first = _in_common(before, after)
    last = _in_common(before[first:][::-1], after[first:][::-1])
    if params["dimensions"] is not None or box[first : len(box) - last] != _whole(after[first : len(after) - last]):
        return None
    regrouped = _whole(before)[first : len(before) - last]
    return [box[:first] + regrouped + box[len(box) - last :]], {"new_sizes": _sizes(box)}


def _in_common(one: Shape, other: Shape) -> int:
    """How many sizes are alike from the start."""
    differ = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


def _slice(params: Mapping[str, Any], operands: Sequence[Shape], box: Box) -> Needs | None:
    del operands
    if params["strides"] is not None:
        return None
    starts = params["start_indices"]
    moved = tuple((first + a, first + b) for first, (a, b) in zip(starts, box, strict=True))
    return [moved], {"start_indices": (0,) * len(box), "limit_indices": _sizes(box)}


def _squeeze(params: Mapping[str, Any], operands: Sequence[Shape], box: Box) -> Needs:
    kept = iter(box)
    return [tuple((0, 1) if axis in params["dimensions"] else next(kept) for axis in range(len(operands[0])))], {}


RULES: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast,
    "dot_general": _product,
    "reshape": _reshape,
    "slice": _slice,
    "squeeze": _squeeze,
    "transpose": _transpose,
    **dict.fromkeys(("reduce_max", "reduce_min", "reduce_prod", "reduce_sum"), _reduce),
    **dict.fromkeys(
        (
            *("abs", "add", "convert_element_type", "cos", "div", "eq", "erf", "exp", "exp2", "expm1", "ge", "gt"),
            *("integer_pow", "le", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg", "pow"),
            *("rsqrt", "select_n", "sign", "sin", "sqrt", "square", "sub", "tanh"),
        ),
        _elementwise,
    ),
}
"""By the primitive's name; all of them have one result."""
