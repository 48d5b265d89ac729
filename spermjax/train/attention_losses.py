"""How far attention is from a part: losses between two rows of patches.

`attention` is a class row over patches, non-negative; every loss but `scaled_*`
expects it to sum to one. `coverage` is the share of each patch that the part covers,
and t = coverage / sum(coverage) is the part as a distribution. Where nothing is
covered these losses mean nothing: leave such examples out.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.registry import Registry

EPSILON = 1e-8

LOSSES: Registry = Registry("guidance loss")


def normalised(row: Float[Array, "... patches"]) -> Float[Array, "... patches"]:
    """A row divided by its sum."""
    return row / (row.sum(-1, keepdims=True) + EPSILON)


def _log(values: Float[Array, "... patches"]) -> Float[Array, "... patches"]:
    return jnp.log(values + EPSILON)


@LOSSES.register("outside_mass")
def outside_mass(attention: Float[Array, "... patches"], coverage: Float[Array, "... patches"]) -> Float[Array, "..."]:
    """Share of the attention that lies outside the part: 1 - sum a m."""
    return 1.0 - (attention * coverage).sum(-1)


@LOSSES.register("untouched_mass")
def untouched_mass(
    attention: Float[Array, "... patches"], coverage: Float[Array, "... patches"]
) -> Float[Array, "..."]:
    """Share of the attention on patches that the part does not touch; zero can be reached, however small the part."""
    return jnp.where(coverage > 0, 0.0, attention).sum(-1)


@LOSSES.register("log_inside_mass")
def log_inside_mass(
    attention: Float[Array, "... patches"], coverage: Float[Array, "... patches"]
) -> Float[Array, "..."]:
    """Surprise at attention lying on the part: -log sum a m."""
    return -jnp.log((attention * coverage).sum(-1) + EPSILON)


@LOSSES.register("kl")
def kl(attention: Float[Array, "... patches"], coverage: Float[Array, "... patches"]) -> Float[Array, "..."]:
    """Kullback-Leibler divergence of the attention from the part's own distribution, sum t log(t / a)."""
    wanted = normalised(coverage)
    return (wanted * (_log(wanted) - _log(attention))).sum(-1)


@LOSSES.register("reverse_kl")
def reverse_kl(attention: Float[Array, "... patches"], coverage: Float[Array, "... patches"]) -> Float[Array, "..."]:
    """Sum a log(a / t): each bit of attention off the part costs -log(1e-8), whatever lies on it."""
    return (attention * (_log(attention) - _log(normalised(coverage)))).sum(-1)


@LOSSES.register("cross_entropy")
def cross_entropy(attention: Float[Array, "... patches"], coverage: Float[Array, "... patches"]) -> Float[Array, "..."]:
    """-sum t log a: `kl` plus the entropy of the part, so the gradient is the same."""
    return -(normalised(coverage) * _log(attention)).sum(-1)


@LOSSES.register("mse")
def mse(attention: Float[Array, "... patches"], coverage: Float[Array, "... patches"]) -> Float[Array, "..."]:
    """Mean squared difference of the two distributions."""
    return jnp.square(attention - normalised(coverage)).mean(-1)


@LOSSES.register("cosine")
def cosine(attention: Float[Array, "... patches"], coverage: Float[Array, "... patches"]) -> Float[Array, "..."]:
    """One minus the cosine of the angle between attention and coverage."""
    squared = jnp.square(attention).sum(-1) * jnp.square(coverage).sum(-1)
    # The root of zero has no gradient; an empty part is left out afterwards, but NaN would stay.
    return 1.0 - (attention * coverage).sum(-1) / jnp.sqrt(jnp.maximum(squared, EPSILON**2))


def _scaled(attention: Float[Array, "... patches"]) -> Float[Array, "... patches"]:
    """The row divided by its greatest value."""
    return attention / (attention.max(-1, keepdims=True) + EPSILON)


@LOSSES.register("scaled_mse")
def scaled_mse(attention: Float[Array, "... patches"], coverage: Float[Array, "... patches"]) -> Float[Array, "..."]:
    """Mean squared difference of coverage and attention divided by its maximum."""
    return jnp.square(_scaled(attention) - coverage).mean(-1)


@LOSSES.register("scaled_bce")
def scaled_bce(attention: Float[Array, "... patches"], coverage: Float[Array, "... patches"]) -> Float[Array, "..."]:
    """Mean binary cross-entropy of coverage and attention divided by its maximum.

    The greatest value becomes (nearly) one, and costs up to -log(1e-8 / a) where its
    patch is not covered whole: that term is most of the loss for a small part.
    """
    peak = attention.max(-1, keepdims=True)
    # 1 - a / (peak + epsilon) is lost to rounding at the peak; so is its gradient.
    below_peak = jnp.where(attention == peak, EPSILON, peak - attention + EPSILON)
    log_not = jnp.log(below_peak) - jnp.log(peak + EPSILON)
    log_is = jnp.log(jnp.maximum(_scaled(attention), jnp.finfo(attention.dtype).tiny))
    return -(coverage * log_is + (1.0 - coverage) * log_not).mean(-1)


@LOSSES.register("dice")
def dice(attention: Float[Array, "... patches"], coverage: Float[Array, "... patches"]) -> Float[Array, "..."]:
    """One minus the Dice coefficient of coverage and attention divided by its maximum.

    Both terms of the fraction have 1 added (Milletari et al. 2016, smoothed).
    """
    scaled = _scaled(attention)
    both = 2.0 * (scaled * coverage).sum(-1) + 1.0
    return 1.0 - both / (scaled.sum(-1) + coverage.sum(-1) + 1.0)
