"""Which part of the cell each head looks at."""

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from spermjax.interpret.grid import class_row
from spermjax.models.attention.contract import AttentionSpec


@flax.struct.dataclass
class Specialisation:
    """How heads divide the cell among them.

    Attributes:
        enrichment: attention on a part over the share of the image that it covers,
            mean over the examples that show it; 1 is chance, NaN if none shows it.
        favourite: index of the part with the largest enrichment.
        consistency: share of the examples showing the favourite in which it is also
            the part of the largest enrichment there; low for a head that wanders.
    """

    enrichment: Float[Array, "layers heads parts"]
    favourite: Int[Array, "layers heads"]
    consistency: Float[Array, "layers heads"]


def specialisation(
    attention: Float[Array, "layers batch heads queries keys"],
    spec: AttentionSpec,
    coverage: Float[Array, "batch rows columns parts"],
    shown: Bool[Array, "batch"],
) -> Specialisation:
    """Enrichment of heads' class rows by part, and how steady the favourite part is.

    Args:
        attention: captured weights.
        spec: how to read them.
        coverage: share of each patch that each part covers.
        shown: False for examples without masks.
    """
    row = class_row(attention, spec)
    row = row / row.sum(axis=-1, keepdims=True)
    patches = coverage.reshape(len(coverage), -1, coverage.shape[-1])
    area = patches.mean(axis=1)
    present = (area > 0) & shown[:, None]
    enrichment = jnp.einsum("lbhn,bnp->lbhp", row, patches) / jnp.where(area > 0, area, 1.0)[None, :, None]
    here = present[None, :, None, :]
    mean = jnp.mean(enrichment, axis=1, where=here)
    favourite = jnp.nan_to_num(mean, nan=-1.0).argmax(axis=-1)
    best = jnp.where(here, enrichment, -1.0).argmax(axis=-1)
    of_favourite = jnp.moveaxis(present[:, favourite], 0, 1)
    consistency = jnp.mean(best == favourite[:, None], axis=1, where=of_favourite)
    return Specialisation(mean, favourite, consistency)
