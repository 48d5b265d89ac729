"""What is measured on the validation split while a model trains."""

from collections.abc import Callable, Mapping

import numpy as np

from spermjax.data.examples import Examples
from spermjax.evaluate.classification import quick, selection_metric
from spermjax.train.session import Session, make_predict
from spermjax.train.state import Variables
from spermjax.workflow.heads import make_head_check
from spermjax.workflow.measure import make_measure


def make_monitor(session: Session) -> Callable[[Variables], tuple[Mapping[str, float], float]]:
    """Builds the evaluation that the training loop calls.

    Args:
        session: model, data, devices.

    Returns:
        Variables to logged values (`validation/...` over the whole split, and
        `interpret/...` and `checks/...` over a fixed choice of it), and the score that ranks
        checkpoints.
    """
    experiment, task = session.experiment, session.dataset.task
    validation = session.dataset.splits["validation"]
    predict = make_predict(session.model, session.devices, experiment.schedule.batch_size)
    explained = choose(validation, experiment.interpret.examples)
    measured = make_measure(
        session.model,
        task,
        session.devices,
        methods=experiment.interpret.during_training,
        metrics=None,
        chunk=experiment.interpret.chunk,
        has_parts=bool(validation.has_parts.any()),
        cheap=True,
    )
    watched = experiment.checks.attention and hasattr(session.model, "attention_spec")
    heads = make_head_check(session.model, session.devices, experiment.interpret.chunk) if watched else None

    def monitor(variables: Variables) -> tuple[Mapping[str, float], float]:
        logits = predict(variables, validation)
        scores = quick(task, logits, validation.label)
        values = {f"validation/{name}": value for name, value in scores.items()}
        if experiment.interpret.during_training:
            result = measured(variables, validation.take(explained), logits[explained].argmax(-1))
            for name, value in result.values.items():
                if not np.isnan(value).all():
                    values[f"interpret/{name}"] = float(np.nanmean(value))
        if heads is not None:
            values |= heads(variables, validation.take(explained))
        return values, scores[selection_metric(task)]

    return monitor


def choose(examples: Examples, count: int) -> np.ndarray:
    """A fixed choice of examples, the same for every run on the same split; in order of position."""
    order = np.random.default_rng(0).permutation(len(examples))
    return np.sort(order[:count])
