"""Heads that do nothing, attention that has collapsed, and how each head spreads what it gives."""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from spermjax.data.batch import PackedBatch, unpack
from spermjax.data.examples import Examples
from spermjax.data.pipeline import padded_batches
from spermjax.interpret.capture import capture
from spermjax.interpret.grid import distributions
from spermjax.interpret.metrics.attention import collapse, constancy, entropy, row_moments
from spermjax.interpret.model import attention_spec
from spermjax.models.attention.contract import ATTENTION
from spermjax.parallel import pmap_examples
from spermjax.train.state import Variables

NEARLY_ONE = 0.99
LOG10_WEIGHT = np.linspace(-6.0, 0.0, 31)
"""Edges of the bins of `make_head_histogram`; smaller weights count in the first."""


def make_head_check(
    model: nn.Module, devices: list[jax.Device], chunk: int
) -> Callable[[Variables, Examples], Mapping[str, float]]:
    """Builds the check of a model's heads.

    Args:
        model: shows its attention; without a mapped axis.
        devices: that share the work.
        chunk: examples at once on each device.

    Returns:
        Variables and examples to `checks/dead_heads`, the share of heads whose attention is
        the same whatever they see (`constancy` above .99); `checks/collapsed_heads`, the
        share in which all queries of an image look at the same places (`collapse` above
        .99; Dong et al. 2021); and `checks/lowest_entropy`, in nats, of the head with the
        least (towards 0 training turns unstable; Zhai et al. 2023).
    """

    def of_chunk(variables: Variables, packed: PackedBatch) -> tuple[jax.Array, ...]:
        images = unpack(packed).image
        weights = capture(model, variables, images, (ATTENTION,)).attention
        attention = distributions(weights, attention_spec(model, images))
        found = (*row_moments(attention), collapse(attention), entropy(attention))
        return tuple(jnp.moveaxis(value, 1, 0) for value in found)

    mapped = pmap_examples(of_chunk, devices)

    def check(variables: Variables, examples: Examples) -> Mapping[str, float]:
        batches = padded_batches(examples, chunk * len(devices))
        pieces = zip(*(mapped(variables, batch) for batch in batches), strict=True)
        mean_row, mean_square, alike, entropies = (
            np.moveaxis(np.concatenate(piece)[: len(examples)], 0, 1) for piece in pieces
        )
        return {
            "checks/dead_heads": float((np.asarray(constancy(mean_row, mean_square)) > NEARLY_ONE).mean()),
            "checks/collapsed_heads": float((alike.mean(axis=1) > NEARLY_ONE).mean()),
            "checks/lowest_entropy": float(entropies.mean(axis=1).min()),
        }

    return check


def make_head_histogram(
    model: nn.Module, devices: list[jax.Device], chunk: int
) -> Callable[[Variables, Examples], Int[np.ndarray, "layers heads bins"]]:
    """Builds the count of a model's attention weights by size.

    Args:
        model: shows its attention; without a mapped axis.
        devices: that share the work.
        chunk: examples at once on each device.

    Returns:
        Variables and examples to the number of weights of each head, from all queries to
        all keys, whose log10 lies in each bin of `LOG10_WEIGHT`.
    """
    inner = jnp.asarray(LOG10_WEIGHT[1:-1])

    def of_chunk(variables: Variables, packed: PackedBatch) -> Int[jax.Array, "batch layers heads bins"]:
        images = unpack(packed).image
        weights = capture(model, variables, images, (ATTENTION,)).attention
        attention = distributions(weights, attention_spec(model, images))
        bins = jnp.searchsorted(inner, jnp.log10(attention.reshape(*attention.shape[:3], -1)), side="right")
        counts = jax.vmap(lambda b: jnp.bincount(b, length=len(inner) + 1))(bins.reshape(-1, bins.shape[-1]))
        return jnp.moveaxis(counts.reshape(*bins.shape[:3], -1), 1, 0)

    mapped = pmap_examples(of_chunk, devices)

    def count(variables: Variables, examples: Examples) -> Int[np.ndarray, "layers heads bins"]:
        batches = padded_batches(examples, chunk * len(devices))
        return np.concatenate([mapped(variables, batch) for batch in batches])[: len(examples)].sum(axis=0)

    return count
