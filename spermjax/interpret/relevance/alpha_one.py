"""Layer-wise relevance propagation with alpha one, as Chefer, Gur & Wolf (2021a) use it.

Linear maps share relevance among their positive contributions (Bach et al. 2015,
alpha 1, beta 0), the first of them by the rule for bounded pixels (Montavon et al.
2017, z^B). Products of two activations share it by contribution, half to each factor.
Residual sums share it by contribution and are rescaled so that each branch gets its
share of the example's relevance. Norms, what makes weights of attention scores, and
activations pass it on unchanged, biases take none.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from spermjax.errors import ConfigError
from spermjax.interpret.program import norm_as_one
from spermjax.interpret.relevance.backward import Message, Rule, Rules, Step, differentiate
from spermjax.models.attention.base import ScoredAttention
from spermjax.models.norm import LayerNorm

NORMS = (LayerNorm, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)


@contextlib.contextmanager
def norms_as_one() -> Iterator[None]:
    """While it lasts, a traced norm is one operation, through which relevance passes unchanged.

    So is a variant's way from attention scores to weights, which may sort them.
    """

    def intercept(function: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        after = function(*args, **kwargs)
        is_norm = isinstance(context.module, NORMS) and context.method_name == "__call__"
        if is_norm or (isinstance(context.module, ScoredAttention) and context.method_name == "normalise"):
            return norm_as_one.bind(args[0], after)
        return after

    with nn.intercept_methods(intercept):
        yield


def divide(numerator: Message, denominator: Array, tiny: float = 1e-9) -> Message:
    """Quotient that is zero where the denominator is."""
    safe = denominator + jnp.where(denominator == -tiny, 2 * tiny, tiny)
    return jnp.where(denominator == 0, 0.0, numerator / safe)


def _others(step: Step, place: int) -> str:
    return f"operand_{1 - place}"


def _linear(step: Step, message: Message) -> list[Message | None]:
    place = step.live.index(True)
    x, weights = step.operands[place], step.operands[1 - place]
    given: list[Message | None] = [None, None]
    given[place] = (
        _bounded(step, message, place, x, weights)
        if step.pixels[place]
        else _positive(step, message, place, x, weights)
    )
    return given


def _apply(step: Step, place: int, x: Array, weights: Array) -> Array:
    return step.equation(*((x, weights) if place == 0 else (weights, x)))[0]


def _positive(step: Step, message: Message, place: int, x: Array, weights: Array) -> Message:
    positive, negative = jnp.maximum(weights, 0), jnp.minimum(weights, 0)
    x_positive, x_negative = jnp.maximum(x, 0), jnp.minimum(x, 0)
    total = _apply(step, place, x_positive, positive) + _apply(step, place, x_negative, negative)
    shares = divide(message, total)
    other = _others(step, place)
    return x_positive * step.linearised(place, shares, **{other: positive}) + x_negative * step.linearised(
        place, shares, **{other: negative}
    )


def _bounded(step: Step, message: Message, place: int, x: Array, weights: Array) -> Message:
    positive, negative = jnp.maximum(weights, 0), jnp.minimum(weights, 0)
    axes = tuple(range(1, x.ndim))
    low, high = (jnp.broadcast_to(f(x, axis=axes, keepdims=True), x.shape) for f in (jnp.min, jnp.max))
    total = (
        _apply(step, place, x, weights) - _apply(step, place, low, positive) - _apply(step, place, high, negative)
    ) + 1e-9
    shares, other = message / total, _others(step, place)
    return (
        x * step.linearised(place, shares)
        - low * step.linearised(place, shares, **{other: positive})
        - high * step.linearised(place, shares, **{other: negative})
    )


def _contribution(step: Step, message: Message, place: int) -> Message:
    return step.operands[place] * step.linearised(place, divide(message, step.results[0]))


def product(step: Step, messages: list[Message | None]) -> list[Message | None]:
    """A linear map by its positive contributions; a product of two activations half and half."""
    [message] = messages
    assert message is not None
    if all(step.live):
        return [_contribution(step, message, place) / 2 for place in (0, 1)]
    return _linear(step, message)


def scaled(step: Step, messages: list[Message | None]) -> list[Message | None]:
    """Elementwise product: a constant takes nothing, two activations half each."""
    both = all(step.live)
    return [message if message is None or not both else message / 2 for message in passed(step, messages)]


def total(step: Step, messages: list[Message | None]) -> list[Message | None]:
    """A residual sum, or a constant such as positions, that is no bias and no mere number: each takes its share."""
    [message] = messages
    assert message is not None
    if not all(step.live):
        place = step.live.index(True)
        if step.straight[place] or jnp.ndim(step.operands[1 - place]) == 0:
            return passed(step, messages)
    shares = divide(message, step.results[0])
    parts = [
        jnp.broadcast_to(jnp.asarray(operand), message.shape) * (shares * sign)
        for operand, sign in zip(step.operands, _signs(step), strict=True)
    ]
    sums = [_per_example(part) for part in parts]
    magnitude = jnp.abs(sums[0]) + jnp.abs(sums[1])
    everything = _per_example(message)
    rescaled = [
        part * divide(divide(jnp.abs(value), magnitude) * everything, value)
        for part, value in zip(parts, sums, strict=True)
    ]
    return [_fold(part, jnp.shape(operand)) for part, operand in zip(rescaled, step.operands, strict=True)]


def _signs(step: Step) -> tuple[int, int]:
    return (1, -1) if step.equation.primitive.name == "sub" else (1, 1)


def _per_example(values: Message) -> Message:
    return values.sum(axis=tuple(range(1, values.ndim)), keepdims=True)


def _fold(message: Message, shape: tuple[int, ...]) -> Message:
    """Sums over axes along which an operand of this shape was stretched."""
    if message.shape == shape:
        return message
    lead = message.ndim - len(shape)
    axes = tuple(i for i, long in enumerate(message.shape) if i < lead or long != shape[i - lead])
    return message.sum(axis=axes).reshape(shape)


def difference(step: Step, messages: list[Message | None]) -> list[Message | None]:
    """A constant that is taken away takes nothing; two activations share as in a sum."""
    return total(step, messages) if all(step.live) else passed(step, messages)


def passed(step: Step, messages: list[Message | None]) -> list[Message | None]:
    """Relevance goes through unchanged, to each operand that depends on the input."""
    [message] = messages
    assert message is not None
    return [
        _fold(message, jnp.shape(operand)) if live else None
        for operand, live in zip(step.operands, step.live, strict=True)
    ]


def to_first(step: Step, messages: list[Message | None]) -> list[Message | None]:
    """Relevance goes to the first operand: a norm's input, a quotient's numerator."""
    return [messages[0], *(None for _ in step.operands[1:])]


def by_contribution(step: Step, messages: list[Message | None]) -> list[Message | None]:
    """The terms of a sum over an axis take what they contribute."""
    [message] = messages
    assert message is not None
    return [_contribution(step, message, 0)]


def refuse(step: Step, messages: list[Message | None]) -> list[Message | None]:
    """No rule is known.

    Raises:
        ConfigError: always.
    """
    del messages
    name = step.equation.primitive.name
    hint = (
        "a norm must be one of flax.linen's LayerNorm, RMSNorm and GroupNorm"
        if name in ("rsqrt", "sqrt")
        else "use chefer2021b, which asks for gradients alone"
    )
    raise ConfigError(f"Relevance propagation (Chefer 2021a) has no rule for the operation {name!r}; {hint}.")


STRUCTURE = (
    *("reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim", "convert_element_type", "copy"),
    *("slice", "dynamic_slice", "split", "concatenate", "select_n", "pad", "rev", "gather", "scatter"),
)
ACTIVATIONS = (
    *("exp", "exp2", "expm1", "log1p", "logistic", "tanh", "erf", "erfc"),
    *("max", "min", "neg", "integer_pow", "square"),
)

_BY_NAME: dict[str, Rule] = {
    **dict.fromkeys(STRUCTURE, differentiate),
    **dict.fromkeys(ACTIVATIONS, passed),
    "dot_general": product,
    "conv_general_dilated": product,
    "mul": scaled,
    "add": total,
    "add_any": total,
    "sub": difference,
    "div": to_first,
    "reduce_sum": by_contribution,
    "norm_as_one": to_first,
}
ALPHA_ONE = Rules(_BY_NAME, refuse, cuts=frozenset({"stop_gradient", "reduce_max"}))
