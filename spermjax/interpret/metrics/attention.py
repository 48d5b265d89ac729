"""Statistics of attention, per layer, example and head."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from spermjax.interpret.grid import class_row, reader_row
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
    return reader_row(attention, spec)[..., : spec.prefix].sum(axis=-1)


def class_token_share(
    attention: Float[Array, "layers batch heads queries keys"], spec: AttentionSpec
) -> Float[Array, "layers batch heads"]:
    """What patch queries spend on the class token; NaN for a model without one."""
    if spec.reads != "class_token":
        return jnp.full(attention.shape[:3], jnp.nan)
    return attention[..., spec.prefix :, 0].mean(axis=-1)


def register_share(
    attention: Float[Array, "layers batch heads queries keys"], spec: AttentionSpec
) -> Float[Array, "layers batch heads"]:
    """What patch queries spend on register tokens; NaN for a model without any (Darcet et al. 2024)."""
    first = int(spec.reads == "class_token")
    if spec.prefix == first:
        return jnp.full(attention.shape[:3], jnp.nan)
    return attention[..., spec.prefix :, first : spec.prefix].sum(axis=-1).mean(axis=-1)


def border_concentration(
    attention: Float[Array, "layers batch heads queries keys"], spec: AttentionSpec
) -> Float[Array, "layers batch heads"]:
    """What the class row, normalised over patches, spends on the outermost patches, over their share of all.

    1 is chance: cells are centred, so more than that is attention to the background,
    or to patches that serve as registers.
    """
    rows, columns = jnp.divmod(jnp.arange(spec.grid[0] * spec.grid[1]), spec.grid[1])
    border = (rows == 0) | (rows == spec.grid[0] - 1) | (columns == 0) | (columns == spec.grid[1] - 1)
    return (_normalised(class_row(attention, spec)) * border).sum(axis=-1) / border.mean()


def effective_rank(
    attention: Float[Array, "layers batch heads queries keys"],
) -> Float[Array, "layers batch heads"]:
    """Exponential of the entropy of the normalised singular values (Roy & Vetterli 2007).

    From 1, where all queries look alike, to the number of tokens, where each looks
    at one of its own.
    """
    values = jnp.linalg.svd(attention, compute_uv=False)
    return jnp.exp(jax.scipy.special.entr(_normalised(values)).sum(axis=-1))


def collapse(attention: Float[Array, "layers batch heads queries keys"]) -> Float[Array, "layers batch heads"]:
    """How alike rows are: the cosine of two queries' rows, mean over pairs (after Dong et al. 2021).

    1 where all queries look at the same tokens, so that the layer averages.
    """
    unit = attention / jnp.linalg.norm(attention, axis=-1, keepdims=True)
    return _mean_of_pairs(jnp.einsum("lbhqk,lbhrk->lbhqr", unit, unit))


def row_moments(
    attention: Float[Array, "layers batch heads queries keys"],
) -> tuple[Float[Array, "layers batch heads keys"], Float[Array, "layers batch heads"]]:
    """Each head's mean row over queries, and the mean squared length of its rows: what `constancy` is made of."""
    return attention.mean(axis=-2), jnp.square(attention).sum(axis=-1).mean(axis=-1)


def constancy(
    mean_row: Float[Array | np.ndarray, "layers batch heads keys"],
    mean_square: Float[Array | np.ndarray, "layers batch heads"],
) -> Float[Array, "layers heads"]:
    """How little a head depends on what it sees: squared length of its mean row over its rows' mean squared length.

    1 for a head that looks at the same places, or everywhere alike, for each query of
    each image; 1 / n for one that looks at one of n places, each equally often.
    """
    return jnp.square(mean_row.mean(axis=1)).sum(axis=-1) / mean_square.mean(axis=1)


def head_agreement(
    attention: Float[Array, "layers batch heads queries keys"], spec: AttentionSpec
) -> Float[Array, "layers batch"]:
    """Correlation of two heads' class rows over patches, mean over pairs; NaN for one head."""
    row = class_row(attention, spec)
    centred = row - row.mean(axis=-1, keepdims=True)
    length = jnp.linalg.norm(centred, axis=-1, keepdims=True)
    unit = centred / jnp.where(length > 0, length, jnp.nan)
    return _mean_of_pairs(jnp.einsum("lbhn,lbgn->lbhg", unit, unit))


def _mean_of_pairs(similarity: Float[Array, "*lead n n"]) -> Float[Array, "*lead"]:
    """Mean off the diagonal."""
    count = similarity.shape[-1]
    off = jnp.where(jnp.eye(count, dtype=bool), 0.0, similarity).sum(axis=(-1, -2))
    return off / (count * (count - 1)) if count > 1 else jnp.full(similarity.shape[:-2], jnp.nan)


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
    # Behind the blocks alone does a class token meet patches in some models.
    return jnp.nanmean(values, axis=(0, 2))


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
    ("class_token_share", class_token_share, "Darcet et al. 2024"),
    ("register_share", register_share, "Darcet et al. 2024"),
    ("border_concentration", border_concentration, "spermjax"),
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
for _name, _function, _citation in (
    ("entropy", entropy, "Shannon 1948"),
    ("effective_rank", effective_rank, "Roy & Vetterli 2007"),
    ("collapse", collapse, "Dong, Cordonnier & Loukas 2021"),
):
    register(
        Metric(
            name=_name,
            function=lambda attention, _function=_function: _per_example(_function(attention)),
            needs=frozenset({"attention"}),
            better=None,
            citation=_citation,
            standard=_name != "effective_rank",
            alone=_name == "effective_rank",
        )
    )
register(
    Metric(
        name="head_agreement",
        function=lambda attention, spec: head_agreement(attention, spec).mean(axis=0),
        needs=frozenset({"attention", "spec"}),
        better=None,
        citation="Michel, Levy & Neubig 2019",
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
