"""AdamW with warm-up and cosine decay."""

import jax
import optax

from spermjax.config import Optim, Schedule


def learning_rate_schedule(optim: Optim, schedule: Schedule, total_steps: int) -> optax.Schedule:
    """Linear warm-up to the peak, then a cosine (Loshchilov & Hutter 2017) to the end.

    Args:
        optim: peak learning rate.
        schedule: share of warm-up, and the share of the peak at the end.
        total_steps: optimiser steps in the run.
    """
    warmup = round(schedule.warmup * total_steps)
    return optax.warmup_cosine_decay_schedule(
        init_value=optim.learning_rate / (warmup + 1),
        peak_value=optim.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(total_steps, warmup + 1),
        end_value=optim.learning_rate * schedule.final_learning_rate,
    )


def kernels(params):
    """True for the parameters that decay: kernels of linear maps and convolutions."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def optimizer(optim: Optim, schedule: Schedule, total_steps: int) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2019) after clipping by the global norm."""
    adamw = optax.adamw(
        learning_rate_schedule(optim, schedule, total_steps),
        b1=optim.beta1,
        b2=optim.beta2,
        weight_decay=optim.weight_decay,
        mask=kernels,
    )
    return adamw if optim.clip is None else optax.chain(optax.clip_by_global_norm(optim.clip), adamw)
