"""Messages passed from a model's output back to everything it was computed from.

What a message means is up to the rules: with `GRADIENT` for each operation it is the
gradient; with the rules of `alpha_one` it is relevance.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.interpret.program import Equation, Program, Values

LINEAR = frozenset({"dot_general", "conv_general_dilated"})
RESHAPING = frozenset({"reshape", "transpose", "squeeze", "slice", "convert_element_type", "expand_dims", "copy"})

Message = Float[Array, "..."]


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation as a rule sees it.

    Attributes:
        equation: the operation.
        operands: its operands' values.
        results: its results' values.
        live: which operands depend on the input.
        pixels: which operands are the input, only moved, scaled or shifted.
        straight: which operands come straight from a linear map.
    """

    equation: Equation
    operands: tuple[Array, ...]
    results: tuple[Array, ...]
    live: tuple[bool, ...]
    pixels: tuple[bool, ...]
    straight: tuple[bool, ...]

    def linearised(self, place: int, message: Message, **replaced: Array) -> Message:
        """Transpose of the operation in one operand, others kept or replaced (`operand_0=...`)."""
        operands = [replaced.get(f"operand_{i}", value) for i, value in enumerate(self.operands)]

        def of_one(value: Array) -> Array:
            return self.equation(*operands[:place], value, *operands[place + 1 :])[0]

        return jax.vjp(of_one, operands[place])[1](message)[0]


Rule = Callable[[Step, list[Message | None]], Sequence[Message | None]]
"""From messages to an operation's results to messages to its operands; None is no message."""


@dataclasses.dataclass(frozen=True)
class Rules:
    """How messages pass through each operation.

    Attributes:
        by_name: rules by the primitive's name.
        default: the rule of other primitives.
        cuts: primitives whose results count as constants.
    """

    by_name: Mapping[str, Rule]
    default: Rule
    cuts: frozenset[str] = frozenset({"stop_gradient"})


def differentiate(step: Step, messages: list[Message | None]) -> list[Message | None]:
    """The rule of differentiation."""
    floats = [i for i, result in enumerate(step.results) if jnp.issubdtype(result.dtype, jnp.floating)]
    places = [
        i
        for i, operand in enumerate(step.operands)
        if step.live[i] and jnp.issubdtype(jnp.asarray(operand).dtype, jnp.floating)
    ]

    def function(*live: Array) -> list[Array]:
        operands = list(step.operands)
        for place, value in zip(places, live, strict=True):
            operands[place] = value
        results = step.equation(*operands)
        return [results[i] for i in floats]

    given: list[Message | None] = [None] * len(step.operands)
    received = [messages[i] for i in floats]
    if places and any(message is not None for message in received):
        _, transpose = jax.vjp(function, *(step.operands[place] for place in places))
        full = [
            jnp.zeros_like(step.results[i]) if message is None else message
            for i, message in zip(floats, received, strict=True)
        ]
        for place, message in zip(places, transpose(full), strict=True):
            given[place] = message
    return given


GRADIENT = Rules({"norm_as_one": lambda step, messages: [None, messages[0]]}, differentiate)
"""Messages are gradients of what they start with."""


def pass_back(
    program: Program,
    values: Values,
    start: Mapping[int, Message],
    rules: Rules,
    held: Collection[int] = (),
) -> dict[int, Message]:
    """Carries messages from some slots back to all that they depend on.

    Args:
        program: of one argument, the images.
        values: of a run.
        start: messages at the slots where they start.
        rules: how they pass.
        held: slots that count as constants.

    Returns:
        Messages by slot, each the sum over the slot's uses; none where nothing arrived.

    Raises:
        ConfigError: a rule refuses an operation.
    """
    live, pixels, straight = set(program.inputs), set(program.inputs), set()
    steps: list[Step] = []
    for equation in program.equations:
        name, ins, outs = equation.primitive.name, equation.inputs, equation.outputs
        inputs_live = [slot for slot in ins if slot in live]
        if not inputs_live or name in rules.cuts:
            continue
        live.update(slot for slot in outs if slot not in held)
        if name not in LINEAR and all(slot in pixels for slot in inputs_live):
            pixels.update(outs)
        is_layer = name in LINEAR and len(inputs_live) == 1
        if is_layer or (name in RESHAPING and straight.issuperset(inputs_live)):
            straight.update(outs)
        marks = (tuple(slot in marked for slot in ins) for marked in (live, pixels, straight))
        operands, results = (tuple(values[slot] for slot in slots) for slots in (ins, outs))
        steps.append(Step(equation, operands, results, *marks))

    messages = dict(start)
    for step in reversed(steps):
        received = [messages.get(slot) for slot in step.equation.outputs]
        if all(message is None for message in received):
            continue
        rule = rules.by_name.get(step.equation.primitive.name, rules.default)
        for place, message in enumerate(rule(step, received)):
            if message is not None and step.live[place]:
                slot = step.equation.inputs[place]
                messages[slot] = message if slot not in messages else messages[slot] + message
    return messages
