"""The sweep file: what it means, and that every fault in it is named before anything runs."""

import math
from pathlib import Path

import numpy as np
import optuna
import pytest
from scipy import stats

from spermjax.config import Experiment
from spermjax.errors import ConfigError
from spermjax.sweep.check import check
from spermjax.sweep.fields import convert, fields, get, put
from spermjax.sweep.parameter import OPTIONS, Parameter, parse
from spermjax.sweep.sweepfile import from_dict, read
from spermjax.workflow import experiments

SWEEPS = sorted((Path(__file__).parents[2] / "experiments" / "sweeps").glob("*.yaml"))
METRIC = {"name": "validation/accuracy", "goal": "maximize"}


def sweep(**changes):
    raw = {"program": "phantom_quickstart", "method": "grid", "metric": METRIC, "parameters": {"seed": {"value": 0}}}
    return from_dict(raw | changes, "file.yaml", "file")


def problems(**changes) -> str:
    """What is said of a sweep that can't be run."""
    with pytest.raises(ConfigError) as caught:
        found = sweep(**changes)
        check(found, experiments.load(found.experiment))
    return str(caught.value)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_ready_sweeps_fit_their_experiments_and_say_what_they_cost(path):
    found = read(path)
    check(found, experiments.load(found.experiment))
    assert "Expected cost:" in path.read_text()


def test_the_smoke_sweep_makes_four_runs():
    found = read(next(path for path in SWEEPS if path.stem == "smoke"))
    assert [(p["guidance.weight"], p["seed"]) for p in found.grid()] == [(0.0, 0), (0.0, 1), (0.1, 0), (0.1, 1)]


def test_every_field_of_an_experiment_takes_its_own_default():
    base = Experiment()
    for path in fields():
        if path not in ("name", "tracking.run_id", "tracking.runs"):
            value = get(base, path)
            assert get(put(base, {path: convert(path, value)}), path) == value


def test_nested_parameters_and_conditions():
    tree = {
        "guidance.warmup": {"values": [0.0, 0.5], "when": {"guidance.weight": 0.1}},
        "guidance": {"parameters": {"weight": {"values": [0.0, 0.1]}}},
    }
    grid = sweep(parameters=tree).grid()
    assert grid == [
        {"guidance.weight": 0.0},
        {"guidance.weight": 0.1, "guidance.warmup": 0.0},
        {"guidance.weight": 0.1, "guidance.warmup": 0.5},
    ]


def test_numbers_in_exponent_form_are_numbers(tmp_path):
    """YAML 1.1 reads 1e-3 as text."""
    file = tmp_path / "s.yaml"
    file.write_text(
        "program: phantom_quickstart\nmethod: random\nrun_cap: 2\nmetric: {name: validation/accuracy, goal: maximize}\n"
        "parameters: {optim.learning_rate: {distribution: log_uniform_values, min: 1e-5, max: 1E-2}}\n"
    )
    (parameter,) = read(file).parameters
    assert parameter.options == {"min": 1e-5, "max": 1e-2}


@pytest.mark.parametrize(
    ("distribution", "options", "witness"),
    [
        ("log_uniform_values", {"min": 1e-4, "max": 1.0}, stats.loguniform(1e-4, 1.0)),
        ("log_uniform", {"min": -3.0, "max": 1.0}, stats.loguniform(math.exp(-3), math.exp(1))),
        ("uniform", {"min": 2.0, "max": 5.0}, stats.uniform(2, 3)),
        ("normal", {"mu": 1.0, "sigma": 2.0}, stats.norm(1, 2)),
        ("log_normal", {"mu": 0.0, "sigma": 0.5}, stats.lognorm(0.5)),
        ("beta", {"a": 2.0, "b": 5.0}, stats.beta(2, 5)),
    ],
)
def test_draws_follow_the_named_distribution(distribution, options, witness):
    """Kolmogorov-Smirnov against SciPy."""
    parameter = parse("x", {"distribution": distribution, **options}, {})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [parameter.suggest(study.ask()) for _ in range(300)]
    assert stats.kstest(drawn, witness.cdf).pvalue > 0.01


@pytest.mark.parametrize("distribution", OPTIONS)
def test_every_distribution_stays_in_its_support(distribution):
    ends = {"min": 1, "max": 4} if distribution == "int_uniform" else {"min": 1.0, "max": 4.0}
    given = {"value": 3, "values": [1.0, 4.0], "probabilities": [0.2, 0.8], "a": 2.0, "b": 2.0, "q": 0.5, **ends}
    parameter = parse(
        "x", {"distribution": distribution} | {k: given[k] for k in OPTIONS[distribution] if k in given}, {}
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = np.array([parameter.suggest(study.ask()) for _ in range(40)])
    low, high = min(parameter.probes()), max(parameter.probes())
    assert low <= drawn.min() and drawn.max() <= high
    if distribution.startswith("q_"):
        np.testing.assert_allclose(drawn / 0.5, np.round(drawn / 0.5), atol=1e-9)


def test_probabilities_are_obeyed():
    parameter = Parameter("x", "categorical_w_probabilities", {"values": ["a", "b"], "probabilities": [3, 1]})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    share = np.mean([parameter.suggest(study.ask()) == "a" for _ in range(400)])
    assert abs(share - 0.75) < 3 * math.sqrt(0.75 * 0.25 / 400)


def test_all_faults_are_named_at_once():
    said = problems(
        method="gird",
        parameters={"seed": {"min": 3, "max": 1}, "model.depth": {"valeus": [1]}},
        metric={"name": "validation/accuracy", "goal": "up"},
        early_terminate={"type": "median"},
        nonsense=1,
    )
    for word in ("'gird'", "min 3 is above max 1", "model.depth", "'up'", "median", "'nonsense' is no key"):
        assert word in said


@pytest.mark.parametrize(
    ("path", "values", "said"),
    [
        ("model.atention", ["softmax"], "model.atention is no field of an experiment. Did you mean 'model.attention'"),
        ("learning_rate", [1e-3], "Did you mean 'optim.learning_rate'"),
        ("optim", [1], "optim is a section; sweep one of its fields: optim.learning_rate"),
        ("model.depth", ["four"], "model.depth is 'four'; it takes a whole number"),
        ("model.depth", [2.5], "model.depth is 2.5; it takes a whole number"),
        ("model.stem", ["cnn"], "model.stem is 'cnn'; it takes one of patch, conv"),
        ("model.attention", ["softmix"], "--model.attention names 'softmix'. Did you mean 'softmax'"),
        ("tracking.run_id", ["a"], "tracking.run_id is set by the sweep itself"),
        ("model.heads", [3], "--model.heads 3 doesn't divide --model.width 64 (with model.heads=3)"),
    ],
)
def test_a_path_or_value_that_does_not_fit_the_configuration(path, values, said):
    assert said in problems(parameters={path: {"values": values}})


def test_a_grid_of_a_million_is_refused_with_its_factors():
    said = problems(parameters={"seed": {"min": 0, "max": 999}, "data.fold": {"min": 0, "max": 999}})
    assert "1,000,000 points (1000 of seed x 1000 of data.fold)" in said and "method: random" in said


def test_a_grid_over_a_continuum_is_refused():
    assert "continuum of optim.clip" in problems(parameters={"optim.clip": {"min": 0.1, "max": 1.0}})


def test_a_metric_that_no_run_logs_is_answered_with_the_nearest():
    said = problems(metric={"name": "validation/acuracy", "goal": "maximize"})
    assert "no run logs the metric 'validation/acuracy'. Did you mean 'validation/accuracy'" in said


def test_early_termination_needs_one_metric_that_is_logged_on_the_way():
    early = {"type": "hyperband", "min_iter": 1}
    other = {"name": "rollout/pointing_game", "goal": "maximize"}
    assert "single metric" in problems(metric=[METRIC, other], early_terminate=early)
    assert "at each evaluation" in problems(metric=other, early_terminate=early)
