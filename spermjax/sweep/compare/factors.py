"""Which hyperparameter mattered: functional ANOVA over a random forest (Hutter et al. 2014)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from spermjax.sweep.compare.load import Record

FEWEST_RUNS = 6
"""Below this a forest tells nothing."""


def importances(records: "Sequence[Record]", factors: Mapping[str, Sequence[Any]], metric: str) -> dict[str, float]:
    """Share of the variance of a metric that each factor alone explains, greatest first.

    Args:
        records: finished runs.
        factors: fields that differ, with their values.
        metric: to explain.

    Returns:
        Shares that sum to 1; empty for few runs, a single value, or without Optuna.
    """
    values = [record.values.get(metric) for record in records]
    if len(records) < FEWEST_RUNS or len(set(values)) < 2 or not factors:
        return {}
    try:
        import optuna
    except ImportError:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    # Only the parameters and values of these trials are looked at, never the direction.
    for record, value in zip(records, values, strict=True):
        if value is not None:
            chosen = {path: _choice(record.settings.get(path)) for path in factors}
            distributions = {path: _distribution(options) for path, options in factors.items()}
            study.add_trial(optuna.create_trial(params=chosen, distributions=distributions, value=value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _distribution(options: Sequence[Any]) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if all(type(value) is int for value in options):
        return IntDistribution(min(options), max(options))
    if all(type(value) in (int, float) for value in options):
        return FloatDistribution(float(min(options)), float(max(options)))
    return CategoricalDistribution([_choice(value) for value in options])


def _choice(value: Any) -> Any:
    return str(value) if isinstance(value, list | tuple) else value
