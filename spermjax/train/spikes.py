"""Spikes of the loss: told by the losses before, in the step itself, so that a resume meets the same ones."""

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from spermjax.config import Checks

WINDOW = 64
FEWEST = 16
"""Losses before the first that can be a spike."""
LEAST_DEVIATION = 0.05
"""In nats: a loss near zero may double without being one."""
LOWERED = 0.1
"""Share of the learning rate after a step that was left out."""
LONGEST = 10
"""Steps left out in succession after which training has diverged."""


@flax.struct.dataclass
class Watch:
    """What a spike is told by, and what is left of the last one.

    Attributes:
        losses: of the last steps, NaN where there were none yet.
        cool_down: steps of lowered learning rate that are left.
        skipped: steps left out in succession.
    """

    losses: Float[Array, "window"]
    cool_down: Int[Array, ""]
    skipped: Int[Array, ""]


def new_watch() -> Watch:
    """The watch before the first step."""
    return Watch(jnp.full(WINDOW, jnp.nan), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


def is_spike(losses: Float[Array, "window"], loss: Float[Array, ""], threshold: float) -> Bool[Array, ""]:
    """Whether a loss is far above those before it.

    Far is `threshold` deviations above the median, a deviation being 1.4826 times the
    median absolute deviation (which is the standard deviation of normal noise, and
    which earlier spikes don't move), but no less than `LEAST_DEVIATION`.

    Args:
        losses: before it; NaN is none.
        loss: of this step; one that is not finite is no spike but worse.
        threshold: in deviations.
    """
    median = jnp.nanmedian(losses)
    deviation = jnp.maximum(1.4826 * jnp.nanmedian(jnp.abs(losses - median)), LEAST_DEVIATION)
    enough = jnp.isfinite(losses).sum() >= FEWEST
    return enough & jnp.isfinite(loss) & (loss > median + threshold * deviation)


def observe(
    watch: Watch, loss: Float[Array, ""], finite: Bool[Array, ""], checks: Checks
) -> tuple[Watch, Bool[Array, ""], Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Looks at a step's loss before its update is applied; pure, for use in the step.

    Args:
        watch: of the steps before.
        loss: of this step.
        finite: whether loss and gradient are.
        checks: what counts as a spike, and what follows.

    Returns:
        The watch after this step; whether the update is applied; the factor of the
        update; metrics `spike`, `rate_factor` and `skipped` (in succession).
    """
    spike = is_spike(watch.losses, loss, checks.spike)
    losses = jnp.where(finite, jnp.roll(watch.losses, -1).at[-1].set(loss), watch.losses)
    taken, factor = finite, jnp.ones(())
    cool_down, skipped = watch.cool_down, watch.skipped
    if checks.on_spike == "skip":
        taken = finite & ~spike
        factor = jnp.where(cool_down > 0, LOWERED, 1.0)
        cool_down = jnp.where(taken, jnp.maximum(cool_down - 1, 0), checks.cool_down)
        skipped = jnp.where(taken, 0, skipped + 1)
    metrics = {"spike": spike, "rate_factor": factor, "skipped": skipped}
    return (
        Watch(losses, cool_down, skipped),
        taken,
        factor,
        jax.tree.map(lambda value: value.astype(jnp.float32), metrics),
    )
