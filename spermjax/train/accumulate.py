"""Gradient accumulation: a batch in parts, one after another, in the memory of one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from spermjax.train.state import Variables

Summand = Callable[[Variables, Any], tuple[Any, Variables]]


def accumulate(of_part: Summand, statistics: Variables, batch: Any, parts: int) -> tuple[Any, Variables]:
    """The sum of a function over equal parts of a batch.

    Args:
        of_part: statistics and a part of the batch to what is summed, and new statistics.
        statistics: of the model; each part goes on from those that the part before left.
        batch: arrays with one leading axis, which `parts` divides.
        parts: how many; one calls the function once, without a loop.

    Returns:
        The sum, in the structure of the function's first result, and the last statistics.
    """
    if parts == 1:
        return of_part(statistics, batch)
    cut = jax.tree.map(lambda x: x.reshape(parts, x.shape[0] // parts, *x.shape[1:]), batch)
    shapes, _ = jax.eval_shape(of_part, statistics, jax.tree.map(lambda x: x[0], cut))
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def add(carry: tuple[Any, Variables], part: Any) -> tuple[tuple[Any, Variables], None]:
        total, statistics = carry
        summand, statistics = of_part(statistics, part)
        return (jax.tree.map(jnp.add, total, summand), statistics), None

    return jax.lax.scan(add, (zeros, statistics), cut)[0]
