"""What the numbers of a step or an evaluation say about training, in words, and when it must end."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from spermjax.config import Checks
from spermjax.errors import DivergenceError
from spermjax.train.spikes import LONGEST, LOWERED

MANY_HEADS = 0.5
EARLY = 0.25
"""Share of the steps in which heads may still be as they started."""


def judge_step(
    step: int,
    metrics: Mapping[str, Any],
    ids: Callable[[], Sequence[str]],
    latest: Callable[[], int | None],
    checks: Checks,
) -> str | None:
    """Looks at the metrics of a step.

    Args:
        step: steps taken with it.
        metrics: of the step, on the device.
        ids: gives the examples in its batch.
        latest: gives the step of the newest checkpoint, or None.
        checks: what follows a spike.

    Returns:
        A warning, or None.

    Raises:
        DivergenceError: training must end here.
    """
    finite, spike = float(metrics["finite"]), float(metrics.get("spike", 0.0))
    if finite and not spike:
        return None
    kind = "spiked" if finite else "diverged"
    what = (
        f"Training {kind} at step {step}: loss {float(metrics['loss'])}, gradient norm "
        f"{float(metrics['gradient_norm'])}, learning rate {float(metrics['learning_rate']):.3g}. "
        f"Batch: {', '.join(ids())}."
    )
    if checks.on_spike != "skip":
        if not finite or checks.on_spike == "stop":
            raise DivergenceError(f"{what} {_remedy(latest())}")
        return what
    skipped = int(metrics["skipped"])
    if skipped >= LONGEST:
        raise DivergenceError(f"{what} This was step {skipped} in succession to be left out. {_remedy(latest())}")
    return f"{what} The step was left out; {LOWERED:g} of the learning rate for {checks.cool_down} steps."


def judge_heads(values: Mapping[str, float], progress: float) -> dict[str, str]:
    """What an evaluation's `checks/...` say of attention: warnings by title, none early in training.

    Args:
        values: of the evaluation.
        progress: share of the steps taken.
    """
    if progress < EARLY:
        return {}
    dead, collapsed = (values.get(f"checks/{name}", 0.0) for name in ("dead_heads", "collapsed_heads"))
    warnings = {}
    if dead >= MANY_HEADS:
        warnings["Dead heads"] = f"{dead:.0%} of the heads attend to the same places whatever they see."
    if collapsed >= MANY_HEADS:
        warnings["Attention collapse"] = f"In {collapsed:.0%} of the heads all queries attend to the same places."
    return warnings


def judge_replicas(step: int, differing: int, latest: Callable[[], int | None]) -> None:
    """Ends training where devices hold different states.

    Raises:
        DivergenceError: naming the last checkpoint that was saved while they agreed.
    """
    if differing:
        saved = latest()
        kept = f"continue from the checkpoint of step {saved}" if saved else "start again"
        raise DivergenceError(
            f"{differing} device(s) hold other parameters than the rest at step {step}: a fault of memory, or of what "
            f"carries gradients between devices. Nothing was saved since; {kept}, on other devices if it happens again."
        )


def _remedy(latest: int | None) -> str:
    kept = f"The checkpoint of step {latest} is from before" if latest else "No checkpoint had been saved"
    return f"{kept}. Lower --optim.learning-rate, or set --optim.clip."
