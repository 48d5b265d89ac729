"""A model's computation as a list of equations that can be walked, replayed and changed.

A model is traced once to its jaxpr, and calls inside it (`jit`, custom derivatives,
`remat`) are inlined. What follows needs no second implementation of the model:
replaying only what depends on a changed value (`Program.replay`), and carrying
relevance backwards with rules of one's own (`spermjax.interpret.relevance`).
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
from jax.extend import core
from jaxtyping import Array, Float

from spermjax.interpret.capture import capture, in_order
from spermjax.interpret.model import Variables

Values = dict[int, Array]
"""Values of a program by their slot."""

# Calls whose body stands for themselves, and the parameter that holds it.
INLINED = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
}


norm_as_one = core.Primitive("norm_as_one")
"""Marks what a norm made of its input: its operands are the norm's input and output, its result is the output."""
norm_as_one.def_impl(lambda before, after: after)
norm_as_one.def_abstract_eval(lambda before, after: after)


@dataclasses.dataclass(frozen=True)
class Equation:
    """One operation.

    Attributes:
        primitive: the operation.
        params: its parameters.
        inputs: slots of its operands.
        outputs: slots of its results.
    """

    primitive: core.Primitive
    params: Mapping[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def __call__(self, *operands: Any) -> list[Any]:
        """Results of the operation on other operands."""
        evaluate = self.primitive.impl if self.primitive is norm_as_one else self.primitive.bind
        results = evaluate(*operands, **self.params)
        return list(results) if self.primitive.multiple_results else [results]


@dataclasses.dataclass(frozen=True)
class Program:
    """Equations in order of evaluation.

    Attributes:
        equations: each reads slots that were written before.
        constants: values that are known beforehand.
        inputs: slots of the function's arguments, flattened.
        outputs: slots of the function's results, in its structure.
    """

    equations: tuple[Equation, ...]
    constants: Values
    inputs: tuple[int, ...]
    outputs: Any

    def run(self, *arguments: Any) -> Values:
        """All values of the program for these arguments."""
        values = dict(self.constants)
        values.update(zip(self.inputs, jax.tree.leaves(arguments), strict=True))
        for equation in self.equations:
            values.update(zip(equation.outputs, equation(*(values[slot] for slot in equation.inputs)), strict=True))
        return values

    def dependents(self, slots: Iterable[int]) -> set[int]:
        """Slots whose values depend on those of `slots`, which are among them."""
        found = set(slots)
        for equation in self.equations:
            if not found.isdisjoint(equation.inputs):
                found.update(equation.outputs)
        return found

    def replay(self, values: Values, changed: Values, wanted: Sequence[int]) -> list[Array]:
        """Values of `wanted` slots if others had taken other values.

        Only equations that lie between the changed and the wanted slots are evaluated.

        Args:
            values: of a run.
            changed: new values by slot.
            wanted: slots to return.
        """
        affected = self.dependents(changed)
        needed, path = set(wanted), []
        for equation in reversed(self.equations):
            outputs = affected.intersection(equation.outputs).difference(changed)
            if not needed.isdisjoint(outputs):
                path.append(equation)
                needed.update(equation.inputs)
        new = {**values, **changed}
        for equation in reversed(path):
            results = zip(equation.outputs, equation(*(new[slot] for slot in equation.inputs)), strict=True)
            new.update((slot, value) for slot, value in results if slot not in changed)
        return [new[slot] for slot in wanted]


def trace(function: Callable[..., Any], *arguments: Any) -> Program:
    """The program of a function for arguments of these shapes; its results may be any tree of arrays."""
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
    equations: list[Equation] = []
    constants: Values = {}
    count = 0

    def new_slot() -> int:
        nonlocal count
        count += 1
        return count - 1

    def inline(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[int]) -> list[int]:
        slots = dict(zip(jaxpr.invars, inputs, strict=True))

        def constant(value: Any) -> int:
            slot = new_slot()
            constants[slot] = value
            return slot

        def read(atom: Any) -> int:
            return constant(atom.val) if isinstance(atom, core.Literal) else slots[atom]

        slots.update((variable, constant(value)) for variable, value in zip(jaxpr.constvars, consts, strict=True))
        for eqn in jaxpr.eqns:
            operands = [read(atom) for atom in eqn.invars]
            if eqn.primitive.name in INLINED:
                body = eqn.params[INLINED[eqn.primitive.name]]
                inner, held = (body.jaxpr, body.consts) if isinstance(body, core.ClosedJaxpr) else (body, ())
                slots.update(zip(eqn.outvars, inline(inner, held, operands), strict=True))
                continue
            results = [new_slot() for _ in eqn.outvars]
            slots.update(zip(eqn.outvars, results, strict=True))
            equations.append(Equation(eqn.primitive, eqn.params, tuple(operands), tuple(results)))
        return [read(atom) for atom in jaxpr.outvars]

    arguments_slots = tuple(new_slot() for _ in closed.jaxpr.invars)
    results = inline(closed.jaxpr, closed.consts, arguments_slots)
    outputs = jax.tree.unflatten(jax.tree.structure(shapes), results)
    return Program(tuple(equations), constants, arguments_slots, outputs)


@dataclasses.dataclass(frozen=True)
class Slots:
    """Where a model's logits and captured values are in its program.

    Attributes:
        logits: their slot.
        collections: slots in the structure of the captured collections.
    """

    logits: int
    collections: Mapping[str, Any]

    def layers(self, collection: str, name: str) -> list[int]:
        """Slots of what was captured under `name`, the first layer first.

        Raises:
            ConfigError: nothing of that name was captured.
        """
        return in_order(self.collections.get(collection, {}), name)


def trace_model(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    collections: tuple[str, ...],
) -> tuple[Program, Values, Slots]:
    """A model's forward pass, what it captured given as slots.

    Args:
        model: fills the contract of `spermjax.models.attention.contract`.
        variables: its parameters and state, which are constants of the program.
        images: intensities in [0, 1], the program's one argument.
        collections: what is captured.

    Returns:
        The program, its values for these images, and slots of what the model shows.
    """
    program = trace(lambda x: capture(model, variables, x, collections), images)
    found = program.outputs
    return program, program.run(images), Slots(found.logits, found.collections)
