"""Heads that do nothing, and attention that has collapsed, while a model trains."""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

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
