"""Relevance carried through layers as a product of token-to-token maps."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.interpret.grid import reader, to_grid
from spermjax.models.attention.contract import AttentionSpec


def add_identity(maps: Float[Array, "*lead tokens tokens"], *, normalise: bool) -> Float[Array, "*lead tokens tokens"]:
    """Adds the residual connection to token-to-token maps.

    Args:
        maps: non-negative, rows are queries.
        normalise: whether rows are then divided by their sums.
    """
    with_residual = maps + jnp.eye(maps.shape[-1])
    return with_residual / with_residual.sum(axis=-1, keepdims=True) if normalise else with_residual


def propagate(
    maps: Float[Array, "layers batch tokens tokens"], spec: AttentionSpec
) -> Float[Array, "batch rows columns"]:
    """The class row of the product `maps[-1] @ ... @ maps[0]`, over patches.

    Only the class row is wanted, so a row vector is carried from the last layer down:
    quadratic in the number of tokens where the product of matrices is cubic.
    """
    tokens = maps.shape[-1]
    start = jnp.broadcast_to(reader(spec, tokens), (maps.shape[1], tokens))

    def down(row: Float[Array, "batch tokens"], layer: Float[Array, "batch tokens tokens"]):
        return jnp.einsum("bq,bqk->bk", row, layer), None

    row, _ = jax.lax.scan(down, start, maps, reverse=True)
    return to_grid(row[:, spec.prefix :], spec)
