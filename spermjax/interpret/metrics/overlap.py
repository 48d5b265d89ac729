"""Overlap of a mask and a map that is cut at a threshold: IoU (Jaccard 1912) and Dice (1945).

The map is scaled from 0 to 1 first, so a threshold of one half means the same for all.
NaN for an empty mask, for a constant map, which has no threshold, and for a value that
isn't finite.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from spermjax.interpret.metrics.metric import Metric, register

Threshold = Callable[[Float[Array, "height width"]], Float[Array, ""]]

OTSU_BINS = 256


def scaled(map: Float[Array, "height width"]) -> Float[Array, "height width"]:
    """The map from 0 to 1; NaN for a constant one."""
    low, high = map.min(), map.max()
    return (map - low) / jnp.where(high > low, high - low, jnp.nan)


def half(scaled_map: Float[Array, "height width"]) -> Float[Array, ""]:
    """One half of the range."""
    return jnp.full((), 0.5, scaled_map.dtype)


def otsu(scaled_map: Float[Array, "height width"]) -> Float[Array, ""]:
    """The threshold with the greatest variance between the two classes (Otsu 1979).

    Over a histogram of 256 bins from 0 to 1; of equal ones the lowest. The threshold is
    the centre of the last bin of the lower class, as in scikit-image.
    """
    bins = jnp.clip((scaled_map * OTSU_BINS).astype(jnp.int32), 0, OTSU_BINS - 1)
    counts = jnp.zeros(OTSU_BINS, jnp.int32).at[bins.reshape(-1)].add(1)
    # Sums of integers are exact, so thresholds that part the pixels alike tie exactly.
    below, sum_below = jnp.cumsum(counts), jnp.cumsum(counts * jnp.arange(OTSU_BINS))
    above, sum_above = below[-1] - below, sum_below[-1] - sum_below
    apart = sum_below / jnp.maximum(below, 1) - sum_above / jnp.maximum(above, 1)
    between = (below / below[-1]) * (above / below[-1]) * apart**2
    return (jnp.argmax(between[:-1]) + 0.5) / OTSU_BINS


THRESHOLDS: dict[str, Threshold] = {"mean": jnp.mean, "half": half, "otsu": otsu}


def iou_and_dice(
    map: Float[Array, "height width"], mask: Bool[Array, "height width"], threshold: Threshold
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Intersection over union, and Dice coefficient, of the mask and what lies above the threshold."""
    values = scaled(map)
    chosen = values > threshold(values)
    both, sizes = (chosen & mask).sum(), chosen.sum() + mask.sum()
    defined = mask.any() & jnp.isfinite(values).all()
    iou = jnp.where(defined, both / jnp.maximum(sizes - both, 1), jnp.nan)
    return iou, jnp.where(defined, 2 * both / jnp.maximum(sizes, 1), jnp.nan)


def _register(name: str, threshold: Threshold, place: int, citation: str) -> None:
    function = jax.vmap(lambda map, mask: iou_and_dice(map, mask, threshold)[place])
    register(Metric(name, function, frozenset({"map", "mask"}), "higher", citation, standard=False))


for _name, _threshold in THRESHOLDS.items():
    _register(f"iou_at_{_name}", _threshold, 0, "Jaccard 1912")
    _register(f"dice_at_{_name}", _threshold, 1, "Dice 1945")
