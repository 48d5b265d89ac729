"""Whether what a map says of a set of patches is what the set is worth to the model."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from spermjax.data.task import Kind
from spermjax.interpret.chunks import map_in_chunks, steps_at_once
from spermjax.interpret.grid import plane
from spermjax.interpret.metrics.faithfulness import NEEDS, register_with_paints
from spermjax.interpret.metrics.metric import Metric, register
from spermjax.interpret.metrics.removal import Replacement, keeping
from spermjax.interpret.metrics.similarity import pearson, spearman
from spermjax.interpret.model import Variables, probability, select

SUBSETS = 64
SUBSET_SHARE = 0.25
SENSITIVITY_SIZES = 5
SENSITIVITY_SUBSETS = 32
SENSITIVITY_SHARE = 0.8
GROUPS = 8
NOISES = 16
NOISE_SPREAD = 0.1


def drops(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    removed: Bool[Array, "subsets batch patches"],
    grid: tuple[int, int],
    *,
    replacement: Replacement | Float[Array, "batch height width 3"] = "remove",
    parts: Bool[Array, "batch height width parts"] | None = None,
    kind: Kind | None = None,
    chunk: int = 64,
) -> Float[Array, "subsets batch"]:
    """By how much the target's score falls when sets of patches are taken away.

    Args:
        model: for `remove` its `apply` takes a `token_mask`.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit, per example.
        removed: what is taken away.
        grid: rows and columns of patches; a pixel may be one.
        replacement: as for `spermjax.interpret.metrics.removal.keeping`.
        parts: masks, for the replacement `background`.
        kind: how probabilities are read; None follows the logit.
        chunk: images in one forward pass.
    """
    logits = keeping(model, variables, images, grid, replacement, parts)

    def scored(values: Float[Array, "batch outputs"]) -> Float[Array, "batch"]:
        return select(values, targets) if kind is None else probability(values, targets, kind)

    clean = scored(model.apply(variables, images))
    return map_in_chunks(
        lambda step: clean - scored(logits(~removed[step])), len(removed), steps_at_once(len(images), chunk)
    )


def random_subsets(
    index: Int[Array, "batch"], patches: int, size: int, count: int
) -> Bool[Array, "count batch patches"]:
    """Sets of `size` patches, the same for an example in whatever batch it comes."""

    def of_example(number: Int[Array, ""]) -> Bool[Array, "count patches"]:
        key = jax.random.fold_in(jax.random.key(0), number)
        return jnp.argsort(jnp.argsort(jax.random.uniform(key, (count, patches)))) < size

    return jax.vmap(of_example, out_axes=1)(index)


def attributed(
    patch_scores: Float[Array, "batch rows columns"], sets: Bool[Array, "subsets batch patches"]
) -> Float[Array, "subsets batch"]:
    """The sum of a map over each set of patches."""
    return jnp.where(sets, patch_scores.reshape(1, len(patch_scores), -1), 0.0).sum(-1)


def alone(patch_scores: Float[Array, "batch rows columns"]) -> Bool[Array, "patches batch patches"]:
    """Each patch as a set of its own."""
    batch, rows, columns = patch_scores.shape
    return jnp.broadcast_to(jnp.eye(rows * columns, dtype=bool)[:, None], (rows * columns, batch, rows * columns))


def informative(patch_scores: Float[Array, "batch rows columns"]) -> Bool[Array, "batch"]:
    """Whether a map is finite and not constant; the sums of a constant one differ by rounding alone."""
    flat = patch_scores.reshape(len(patch_scores), -1)
    return jnp.isfinite(flat).all(1) & (flat.max(1) > flat.min(1))


def sum_and_fall(
    patch_scores: Float[Array, "batch rows columns"],
    removed: Bool[Array, "subsets batch patches"],
    targets: Int[Array, "batch"],
    **arguments: Any,
) -> tuple[Float[Array, "batch subsets"], Float[Array, "batch subsets"]]:
    """What a map says that sets of patches are worth, NaN where it says nothing, and the fall of the logit.

    Args:
        patch_scores: a map on patches.
        removed: the sets.
        targets: index of the logit, per example.
        **arguments: of `drops`.
    """
    fell = drops(targets=targets, removed=removed, grid=plane(patch_scores), **arguments)
    said = jnp.where(informative(patch_scores), attributed(patch_scores, removed), jnp.nan)
    return said.T, fell.T


def faithfulness_correlation(
    *,
    targets: Int[Array, "batch"],
    patch_scores: Float[Array, "batch rows columns"],
    index: Int[Array, "batch"],
    subsets: int = SUBSETS,
    share: float = SUBSET_SHARE,
    **arguments: Any,
) -> Float[Array, "batch"]:
    """Correlation of a random set's sum with the fall of the logit without it (Bhatt, Weller & Moura 2020, eq. 1).

    Args:
        targets: index of the logit, per example.
        patch_scores: a map on patches.
        index: the example's number in its data set, which draws its sets.
        subsets: sets of patches.
        share: of the patches, in each set.
        **arguments: of `drops`.

    Returns:
        From -1 to 1; NaN for a constant map, or one that isn't finite.
    """
    patches = math.prod(plane(patch_scores))
    removed = random_subsets(index, patches, max(1, round(share * patches)), subsets)
    return pearson(*sum_and_fall(patch_scores, removed, targets, **arguments))


def sensitivity_n(
    *,
    targets: Int[Array, "batch"],
    patch_scores: Float[Array, "batch rows columns"],
    index: Int[Array, "batch"],
    sizes: int = SENSITIVITY_SIZES,
    subsets: int = SENSITIVITY_SUBSETS,
    share: float = SENSITIVITY_SHARE,
    **arguments: Any,
) -> Float[Array, "batch"]:
    """`faithfulness_correlation` over sets of n patches, mean over several n (Ancona et al. 2018, section 4).

    The paper draws a curve over n from one feature to four fifths of them; here it is
    read at a few n, evenly spaced in their logarithm, and averaged over those that
    define it.

    Args:
        targets: index of the logit, per example.
        patch_scores: a map on patches.
        index: the example's number in its data set, which draws its sets.
        sizes: values of n, fewer on a grid that has not so many.
        subsets: sets of each size.
        share: of the patches, in the greatest set.
        **arguments: of `drops`.

    Returns:
        From -1 to 1; NaN for a constant map, or one that isn't finite.
    """
    patches = math.prod(plane(patch_scores))
    counts = np.unique(np.round(np.geomspace(1, max(1.0, share * patches), sizes)).astype(int))
    removed = jnp.concatenate([random_subsets(index, patches, int(count), subsets) for count in counts])
    said, fell = sum_and_fall(patch_scores, removed, targets, **arguments)
    by_size = (len(said), len(counts), subsets)
    return jnp.nanmean(pearson(said.reshape(by_size), fell.reshape(by_size)), axis=1)


def faithfulness_estimate(
    *, targets: Int[Array, "batch"], patch_scores: Float[Array, "batch rows columns"], **arguments: Any
) -> Float[Array, "batch"]:
    """Correlation of each patch's value with the fall of the logit without it (Alvarez-Melis & Jaakkola 2018)."""
    return pearson(*sum_and_fall(patch_scores, alone(patch_scores), targets, **arguments))


def monotonicity_correlation(
    *, targets: Int[Array, "batch"], patch_scores: Float[Array, "batch rows columns"], **arguments: Any
) -> Float[Array, "batch"]:
    """Rank correlation of each patch's absolute value with the squared change of the logit without it.

    Nguyen & Martinez (2020, section 4) take the mean of that square over draws of what
    stands in the patch's place; here one thing does. Unlike `faithfulness_estimate` this
    forgives a wrong sign, and any monotone scale.
    """
    said, fell = sum_and_fall(patch_scores, alone(patch_scores), targets, **arguments)
    return spearman(jnp.abs(said), jnp.square(fell))


def order_agreement(
    salience: Float[Array, "groups batch"], fell: Float[Array, "groups batch"]
) -> Float[Array, "batch"]:
    """SaCo's coefficient (Wu et al. 2024, algorithm 1) of groups from the most salient down.

    Returns:
        From -1, where each pair of groups is ordered the wrong way round, to 1; pairs
        count by their difference in salience. NaN where all groups are alike.
    """
    weight = salience[:, None] - salience[None, :]
    right = jnp.where(fell[:, None] >= fell[None, :], 1.0, -1.0)
    ordered = np.triu(np.ones((len(salience), len(salience)), bool), 1)[..., None]
    total = jnp.where(ordered, weight, 0.0).sum((0, 1))
    return jnp.where(total > 0, jnp.where(ordered, weight * right, 0.0).sum((0, 1)) / total, jnp.nan)


def saco(
    *,
    targets: Int[Array, "batch"],
    patch_scores: Float[Array, "batch rows columns"],
    kind: Kind = "single_label",
    groups: int = GROUPS,
    **arguments: Any,
) -> Float[Array, "batch"]:
    """Salience-guided faithfulness coefficient (Wu et al. 2024): does the more salient group matter more?

    Patches are divided by rank into groups of one size (the last may be smaller), each is
    taken away alone, and the fall of the probability is compared with the groups' sums.

    Args:
        targets: index of the logit, per example.
        patch_scores: a map on patches.
        kind: how probabilities are read from logits.
        groups: number of groups.
        **arguments: of `drops`.
    """
    grid = plane(patch_scores)
    flat = patch_scores.reshape(len(patch_scores), -1)
    size = math.ceil(flat.shape[1] / groups)
    rank = jnp.argsort(jnp.argsort(-flat, axis=1, stable=True), axis=1)
    removed = rank // size == jnp.arange(math.ceil(flat.shape[1] / size))[:, None, None]
    fell = drops(targets=targets, removed=removed, grid=grid, kind=kind, **arguments)
    agreement = order_agreement(attributed(patch_scores, removed), fell)
    return jnp.where(informative(patch_scores), agreement, jnp.nan)


def infidelity_of(
    attribution: Float[Array, "perturbations batch"], fell: Float[Array, "perturbations batch"], *, scaled: bool
) -> Float[Array, "batch"]:
    """Mean squared difference of what perturbations should and do take away (Yeh et al. 2019, definition 2.1).

    Args:
        attribution: sum of the perturbation times the map.
        fell: fall of the logit.
        scaled: the map is first multiplied by the factor that makes this smallest, so
            maps without a unit can be compared.
    """
    factor = (attribution * fell).mean(0) / jnp.maximum((attribution**2).mean(0), 1e-30) if scaled else 1.0
    return jnp.square(factor * attribution - fell).mean(0)


def infidelity(
    *,
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    map: Float[Array, "batch height width"],
    index: Int[Array, "batch"],
    chunk: int = 64,
    noises: int = NOISES,
    spread: float = NOISE_SPREAD,
) -> Float[Array, "batch"]:
    """Infidelity under Gaussian noise, over the variance of the logit under it: 1 is a map that says nothing.

    Yeh et al. (2019), with their optimal scaling. The same noise goes to all colours.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit, per example.
        map: the explanation.
        index: the example's number in its data set, which draws its noise.
        chunk: images in one forward pass.
        noises: number of perturbations.
        spread: standard deviation of the noise.
    """
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(1), index)
    clean = select(model.apply(variables, images), targets)

    def perturbed(step: Int[Array, ""]) -> tuple[Float[Array, "batch"], Float[Array, "batch"]]:
        draw = lambda key: spread * jax.random.normal(jax.random.fold_in(key, step), map.shape[1:])  # noqa: E731
        noise = jax.vmap(draw)(keys)
        fell = clean - select(model.apply(variables, images - noise[..., None]), targets)
        return (noise * map).sum((1, 2)), fell

    attribution, fell = map_in_chunks(perturbed, noises, steps_at_once(len(images), chunk))
    unexplained = infidelity_of(attribution, fell, scaled=True) / jnp.maximum((fell**2).mean(0), 1e-30)
    return jnp.where(jnp.isfinite(map).all((1, 2)), unexplained, jnp.nan)


_OF_LOGIT = NEEDS - {"kind"}
for _metric in (
    Metric(
        "faithfulness_correlation",
        faithfulness_correlation,
        _OF_LOGIT | {"index"},
        "higher",
        "Bhatt, Weller & Moura 2020",
        standard=False,
        of_tokens=True,
    ),
    Metric(
        "sensitivity_n",
        sensitivity_n,
        _OF_LOGIT | {"index"},
        "higher",
        "Ancona et al. 2018",
        standard=False,
        of_tokens=True,
    ),
    Metric(
        "monotonicity_correlation",
        monotonicity_correlation,
        _OF_LOGIT,
        "higher",
        "Nguyen & Martinez 2020",
        standard=False,
        of_tokens=True,
    ),
    Metric(
        "faithfulness_estimate",
        faithfulness_estimate,
        _OF_LOGIT,
        "higher",
        "Alvarez-Melis & Jaakkola 2018",
        standard=False,
        of_tokens=True,
    ),
    Metric("saco", saco, NEEDS, "higher", "Wu et al. 2024", standard=False, of_tokens=True),
):
    register_with_paints(_metric)
register(
    Metric(
        "infidelity",
        infidelity,
        (_OF_LOGIT - {"patch_scores"}) | {"map", "index"},
        "lower",
        "Yeh et al. 2019",
        standard=False,
    )
)
