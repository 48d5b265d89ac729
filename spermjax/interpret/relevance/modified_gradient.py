"""Gradients with changed rules: AttnLRP (Achtibat et al. 2024) and CP-LRP (Ali et al. 2022).

Both take input times gradient, of a model in which the deviation that a norm divides
by and the gate of a GELU are held constant. In AttnLRP a product of two activations
(queries with keys, attention with values) halves the gradient of each factor, so that
relevance is kept; in CP-LRP attention itself is held constant instead.
"""

import jax.numpy as jnp

from spermjax.errors import ConfigError
from spermjax.interpret.relevance.backward import Message, Rules, Step, differentiate


def halved(step: Step, messages: list[Message | None]) -> list[Message | None]:
    """The gradient, and half of it for each factor of a product of two activations."""
    share = 0.5 if all(step.live) else 1.0
    return [None if message is None else share * message for message in differentiate(step, messages)]


def secant(step: Step, messages: list[Message | None]) -> list[Message | None]:
    """An activation's output over its input in place of its slope."""
    [message] = messages
    assert message is not None
    [before], [after] = step.operands, step.results
    return [message * jnp.where(before == 0, 0.0, after / jnp.where(before == 0, 1.0, before))]


def refuse(step: Step, messages: list[Message | None]) -> list[Message | None]:
    """No rule is known.

    Raises:
        ConfigError: always.
    """
    del messages
    raise ConfigError(
        f"AttnLRP and CP-LRP have no rule for {step.equation.primitive.name!r}: it hides other operations. "
        "Unroll the loop over layers, or use chefer2021b, which asks for gradients alone."
    )


_LOOPS = dict.fromkeys(("scan", "while", "cond", "shard_map", "pallas_call"), refuse)
_RULES = {**_LOOPS, "dot_general": halved, "mul": halved, "tanh": secant}

MODIFIED_GRADIENT = Rules(
    _RULES, differentiate, cuts=frozenset({"stop_gradient", "reduce_max", "rsqrt", "sqrt", "erf", "erfc"})
)
"""AttnLRP; and CP-LRP if attention is among the slots that are held constant."""
