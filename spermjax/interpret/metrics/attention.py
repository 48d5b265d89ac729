"""Statistics of attention, per layer, example and head."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.interpret.grid import class_row
from spermjax.interpret.metrics.metric import Metric, register
from spermjax.models.attention.contract import AttentionSpec


def _normalised(weights: Float[Array, "*lead keys"]) -> Float[Array, "*lead keys"]:
    return weights / weights.sum(axis=-1, keepdims=True)


def entropy(attention: Float[Array, "layers batch heads queries keys"]) -> Float[Array, "layers batch heads"]:
    """Entropy of a row in nats, mean over all queries."""
    return jax.scipy.special.entr(attention).sum(axis=-1).mean(axis=-1)


def class_row_entropy(
    attention: Float[Array, "layers batch heads queries keys"], spec: AttentionSpec
) -> Float[Array, "layers batch heads"]:
    """Entropy in nats of the class row over patches, normalised without the other tokens."""
    return jax.scipy.special.entr(_normalised(class_row(attention, spec))).sum(axis=-1)


def patch_distances(spec: AttentionSpec) -> Float[Array, "patches patches"]:
    """Euclidean distance between patch centres, in patches."""
    rows, columns = jnp.divmod(jnp.arange(spec.grid[0] * spec.grid[1]), spec.grid[1])
    return jnp.hypot(rows[:, None] - rows, columns[:, None] - columns)


def mean_distance(
    attention: Float[Array, "layers batch heads queries keys"], spec: AttentionSpec
) -> Float[Array, "layers batch heads"]:
    """How far a patch looks, in patches (Dosovitskiy et al. 2021, figure 7).

    Mean over patch queries of the distance to patch keys, rows normalised without the
    tokens before the patches.
    """
    patches = _normalised(attention[..., spec.prefix :, spec.prefix :])
    return (patches * patch_distances(spec)).sum(axis=-1).mean(axis=-1)


def prefix_mass(
    attention: Float[Array, "layers batch heads queries keys"], spec: AttentionSpec
) -> Float[Array, "layers batch heads"]:
    """What the class row spends on the class and register tokens, from 0 to 1."""
    if spec.reads == "class_token":
        return attention[..., 0, : spec.prefix].sum(axis=-1)
    return attention[..., spec.prefix :, : spec.prefix].sum(axis=-1).mean(axis=-1)


def part_budget(
    attention: Float[Array, "layers batch heads queries keys"],
    spec: AttentionSpec,
    coverage: Float[Array, "batch rows columns parts"],
) -> Float[Array, "layers batch heads parts"]:
    """How the class row, normalised over patches, is spent on parts.

    A patch counts for a part by the share of it that the part covers.
    """
    row = _normalised(class_row(attention, spec))
    return jnp.einsum("lbhn,bnp->lbhp", row, coverage.reshape(len(coverage), -1, coverage.shape[-1]))


def part_ceiling(coverage: Float[Array, "batch rows columns parts"]) -> Float[Array, "batch parts"]:
    """The largest `part_budget` that any attention could reach: all of it on the best patch."""
    return coverage.max(axis=(1, 2))


def _per_example(values: Float[Array, "layers batch heads"]) -> Float[Array, "batch"]:
    return values.mean(axis=(0, 2))


def _shown(values: Float[Array, "batch parts"], coverage: Float[Array, "batch rows columns parts"]):
    """NaN for parts that the cell doesn't show."""
    return jnp.where(coverage.any(axis=(1, 2)), values, jnp.nan)


def _last_part_budget(attention, spec, coverage) -> Float[Array, "batch parts"]:
    return _shown(part_budget(attention[-1:], spec, coverage).mean(axis=(0, 2)), coverage)


def _shown_part_ceiling(attention, coverage) -> Float[Array, "batch parts"]:
    del attention
    return _shown(part_ceiling(coverage), coverage)


for _name, _function, _citation in (
    ("mean_distance", mean_distance, "Dosovitskiy et al. 2021"),
    ("class_row_entropy", class_row_entropy, "Shannon 1948"),
    ("prefix_mass", prefix_mass, "Darcet et al. 2024"),
):
    register(
        Metric(
            name=_name,
            function=lambda attention, spec, _function=_function: _per_example(_function(attention, spec)),
            needs=frozenset({"attention", "spec"}),
            better=None,
            citation=_citation,
        )
    )
register(
    Metric(
        name="entropy",
        function=lambda attention: _per_example(entropy(attention)),
        needs=frozenset({"attention"}),
        better=None,
        citation="Shannon 1948",
    )
)
register(
    Metric(
        name="part_budget",
        function=_last_part_budget,
        needs=frozenset({"attention", "spec", "coverage"}),
        better=None,
        citation="spermjax",
    )
)
register(
    Metric(
        name="part_ceiling",
        function=_shown_part_ceiling,
        needs=frozenset({"attention", "coverage"}),
        better=None,
        citation="spermjax",
    )
)
