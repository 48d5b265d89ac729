"""How much of the image a map asks one to look at, whatever lies there."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.interpret.metrics.metric import Metric, register
from spermjax.interpret.metrics.order import ascending


def gini(map: Float[Array, "height width"]) -> Float[Array, ""]:
    """Gini index of the absolute values (Chalasani et al. 2020): 0 spread evenly, near 1 on one pixel.

    NaN for a map of zeros.
    """
    # Of values that aren't negative, the keys are the bits.
    values = jax.lax.bitcast_convert_type(ascending(jnp.abs(map)), jnp.float32)
    count = values.size
    total = values.sum()
    weights = (2 * jnp.arange(1, count + 1) - count - 1) / count
    return jnp.where(total > 0, (weights * values).sum() / jnp.where(total > 0, total, 1.0), jnp.nan)


def map_entropy(map: Float[Array, "height width"]) -> Float[Array, ""]:
    """Entropy in nats of the absolute values, normalised to sum to one (Bhatt et al. 2020).

    NaN for a map of zeros.
    """
    values = jnp.abs(map).reshape(-1)
    total = values.sum()
    entropy = jax.scipy.special.entr(values / jnp.where(total > 0, total, 1.0)).sum()
    return jnp.where(total > 0, entropy, jnp.nan)


def effective_complexity(map: Float[Array, "height width"], *, threshold: float = 0.1) -> Float[Array, ""]:
    """Share of the pixels whose absolute value exceeds `threshold` times the greatest one.

    Nguyen & Martinez (2020) count features above an absolute threshold; raw maps have no
    common scale, so here it is relative, and the count is given as a share of the image.
    NaN for a map of zeros.
    """
    values = jnp.abs(map)
    peak = values.max()
    return jnp.where(peak > 0, (values > threshold * peak).mean(), jnp.nan)


register(Metric("gini", jax.vmap(gini), frozenset({"map"}), None, "Chalasani et al. 2020"))
register(Metric("map_entropy", jax.vmap(map_entropy), frozenset({"map"}), None, "Bhatt et al. 2020"))
register(
    Metric("effective_complexity", jax.vmap(effective_complexity), frozenset({"map"}), None, "Nguyen & Martinez 2020")
)
