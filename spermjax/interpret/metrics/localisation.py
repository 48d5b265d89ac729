"""Where a map lies, against a mask: one map and one mask at a time.

Ties are broken by the order of pixels, row by row. An empty mask makes each of these
NaN, since there is nothing to find; so does a value of the map that isn't finite.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from spermjax.interpret.metrics.metric import METRICS, Metric, register
from spermjax.interpret.metrics.order import inside_highest


def _where_defined(defined: Bool[Array, ""], value: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.where(defined, value, jnp.nan)


def _share(part: Float[Array, ""], whole: Float[Array, ""]) -> Float[Array, ""]:
    """Part of a positive whole; NaN where there is no whole."""
    return _where_defined(whole > 0, part / jnp.where(whole > 0, whole, 1.0))


def pointing_game(
    map: Float[Array, "height width"], mask: Bool[Array, "height width"], *, tolerance_px: int = 0
) -> Float[Array, ""]:
    """Whether a maximal pixel hits the mask (Zhang et al. 2016).

    Args:
        map: the explanation.
        mask: what it should point at.
        tolerance_px: radius of the disc around the maximum that counts as it.

    Returns:
        1 or 0; with several maxima one hit is enough. NaN for an empty mask, and for a
        constant map, which points nowhere.
    """
    target = mask
    if tolerance_px:
        reach = np.arange(-tolerance_px, tolerance_px + 1)
        disc = jnp.asarray(reach[:, None] ** 2 + reach[None, :] ** 2 <= tolerance_px**2, jnp.float32)
        target = jax.scipy.signal.convolve2d(mask.astype(jnp.float32), disc, mode="same") > 0.5
    peak = map.max()
    hit = ((map == peak) & target).any()
    return _where_defined(mask.any() & (peak > map.min()), hit.astype(jnp.float32))


def energy_pointing_game(map: Float[Array, "height width"], mask: Bool[Array, "height width"]) -> Float[Array, ""]:
    """Share of the positive part of the map that lies in the mask (Wang et al. 2020).

    NaN for an empty mask and for a map without a positive value.
    """
    positive = jax.nn.relu(map)
    return _where_defined(mask.any(), _share((positive * mask).sum(), positive.sum()))


def enrichment(map: Float[Array, "height width"], mask: Bool[Array, "height width"]) -> Float[Array, ""]:
    """`energy_pointing_game` over the share of the image that the mask covers: 1 is chance."""
    return energy_pointing_game(map, mask) / mask.mean()


def attribution_localisation(map: Float[Array, "height width"], mask: Bool[Array, "height width"]) -> Float[Array, ""]:
    """Share of the absolute map that lies in the mask: how much of what speaks for or against.

    Kohlbrenner et al. (2020) count positive values alone, which is
    `energy_pointing_game`; Quantus takes absolute ones under their name.
    NaN for an empty mask and for a map of zeros.
    """
    return energy_pointing_game(jnp.abs(map), mask)


def relevance_mass_accuracy(map: Float[Array, "height width"], mask: Bool[Array, "height width"]) -> Float[Array, ""]:
    """Share of the map's sum that lies in the mask (Arras, Osman & Samek 2022).

    Negative values count as they are, so the share of a signed map may leave [0, 1].
    NaN for an empty mask and for a map whose sum isn't positive.
    """
    return _where_defined(mask.any(), _share((map * mask).sum(), map.sum()))


def relevance_rank_accuracy(map: Float[Array, "height width"], mask: Bool[Array, "height width"]) -> Float[Array, ""]:
    """Share of the `|mask|` highest pixels that lie in the mask (Arras, Osman & Samek 2022).

    It is also the Dice coefficient of the mask and the map cut at the mask's area.
    """
    area = mask.sum()
    return _where_defined(jnp.isfinite(map).all(), _share(inside_highest(map, mask, area), area))


def dice_at_matched_area(map: Float[Array, "height width"], mask: Bool[Array, "height width"]) -> Float[Array, ""]:
    """Dice coefficient of the mask and as many of the map's highest pixels, which is `relevance_rank_accuracy`."""
    return relevance_rank_accuracy(map, mask)


def iou_at_matched_area(map: Float[Array, "height width"], mask: Bool[Array, "height width"]) -> Float[Array, ""]:
    """Intersection over union of the mask and as many of the map's highest pixels."""
    area = mask.sum()
    both = inside_highest(map, mask, area)
    return _where_defined(jnp.isfinite(map).all(), _share(both, 2 * area - both))


def top_k_intersection(
    map: Float[Array, "height width"], mask: Bool[Array, "height width"], *, k: int = 50
) -> Float[Array, ""]:
    """Share of the `k` highest pixels that lie in the mask (Theiner et al. 2021)."""
    return _where_defined(mask.any() & jnp.isfinite(map).all(), inside_highest(map, mask, k) / k)


def region_mass(
    map: Float[Array, "height width"], regions: Bool[Array, "height width regions"]
) -> Float[Array, "regions"]:
    """`energy_pointing_game` in each region; NaN for a part that the cell doesn't show."""
    return jax.vmap(energy_pointing_game, in_axes=(None, 2))(map, regions)


def _batched(function):
    """Over a batch, with the metric's own options passed through."""

    def batched(map, mask, **options):
        return jax.vmap(lambda one_map, one_mask: function(one_map, one_mask, **options))(map, mask)

    return batched


for _function, _citation, _standard in (
    (pointing_game, "Zhang et al. 2016", True),
    (energy_pointing_game, "Wang et al. 2020", True),
    (enrichment, "Wang et al. 2020", True),
    (attribution_localisation, "Kohlbrenner et al. 2020, as in Quantus", False),
    (relevance_mass_accuracy, "Arras, Osman & Samek 2022", True),
    (relevance_rank_accuracy, "Arras, Osman & Samek 2022", True),
    (iou_at_matched_area, "Jaccard 1912", True),
    (dice_at_matched_area, "Dice 1945", False),
    (top_k_intersection, "Theiner et al. 2021", True),
):
    register(
        Metric(_function.__name__, _batched(_function), frozenset({"map", "mask"}), "higher", _citation, _standard)
    )

for _tolerance_px in (1, 3):
    register(
        dataclasses.replace(
            METRICS["pointing_game"].using(f"pointing_game_{_tolerance_px}px", tolerance_px=_tolerance_px),
            standard=False,
        )
    )

register(
    Metric(
        name="region_mass",
        function=jax.vmap(region_mass),
        needs=frozenset({"map", "regions"}),
        better=None,
        citation="Wang et al. 2020",
    )
)
