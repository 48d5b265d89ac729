"""Intervals against scipy and statsmodels' formula, and against what they promise: coverage."""

import json
import math

import numpy as np
import pytest
import scipy.stats

from spermjax.evaluate import Interval, bootstrap, mean, wilson


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (31, 33), (33, 33), (5, 210)])
def test_wilson_of_independent_examples_is_scipys(hits, n):
    values = np.r_[np.ones(hits), np.zeros(n - hits), np.nan]
    expected = scipy.stats.binomtest(hits, n).proportion_ci(method="wilson")
    result = wilson(values)
    # Where all examples agree scipy and we both count every example.
    assert (result.value, result.n) == (hits / n, n)
    np.testing.assert_allclose((result.low, result.high), (expected.low, expected.high), atol=1e-12)


def test_wilson_counts_groups_where_their_examples_repeat_each_other():
    """Copying every example four times says nothing new: the interval is (nearly) that of the originals."""
    rng = np.random.default_rng(0)
    originals = (rng.random(50) < 0.8).astype(float)
    copied = wilson(np.repeat(originals, 4), np.repeat(np.arange(50), 4))
    once = wilson(originals)
    assert copied.n == 200
    np.testing.assert_allclose((copied.low, copied.high), (once.low, once.high), atol=0.004)
    all_right = wilson(np.ones(200), np.repeat(np.arange(50), 4))
    assert all_right.low == pytest.approx(wilson(np.ones(50)).low)


def test_wilson_covers_the_truth_on_clustered_examples():
    """Nominal 95 %: clustering ignored, the same intervals cover about 80 %."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(40), 5)
    rates = rng.beta(4, 1, (400, 40))
    covered = [
        interval.low <= 0.8 <= interval.high
        for rate in rates
        for interval in [wilson((rng.random(200) < rate[group]).astype(float), group)]
    ]
    assert 0.92 <= np.mean(covered) <= 0.985


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_bootstrap_agrees_with_scipy(method):
    """A skewed statistic (the variance), so that BCa and percentile differ by far more than the tolerance."""
    sample = np.random.default_rng(2).lognormal(size=60)

    def variance(weight):
        centre = weight @ sample / weight.sum(-1)
        return {"variance": weight @ sample**2 / weight.sum(-1) - centre**2}

    ours = bootstrap(variance, 60, method=method, resamples=20_000)["variance"]
    theirs = scipy.stats.bootstrap(
        (sample,), np.var, n_resamples=20_000, method=method, vectorized=True, rng=np.random.default_rng(3)
    ).confidence_interval
    assert ours.value == pytest.approx(sample.var())
    np.testing.assert_allclose((ours.low, ours.high), theirs, rtol=0.06)
    other = bootstrap(variance, 60, method="percentile" if method == "bca" else "bca", resamples=20_000)["variance"]
    assert abs(other.high - ours.high) > 0.1 * ours.high


def test_bootstrap_of_groups_is_as_wide_as_the_standard_error_of_group_sums():
    """For a mean over equal groups, the interval is 2 x 1.96 standard errors of the group means."""
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(100), 6)
    values = rng.normal(size=100)[group] + 0.1 * rng.normal(size=600)
    group_means = values.reshape(100, 6).mean(1)
    expected = 2 * 1.96 * group_means.std(ddof=1) / 10
    grouped, ungrouped = mean(values, group), mean(values)
    assert grouped.high - grouped.low == pytest.approx(expected, rel=0.08)
    assert grouped.high - grouped.low > 2 * (ungrouped.high - ungrouped.low)


def test_bootstrap_does_not_depend_on_how_groups_are_called_or_examples_ordered():
    rng = np.random.default_rng(5)
    values, group = rng.normal(size=90), np.repeat(np.arange(30), 3)
    names = np.array([f"patient {g:02d}" for g in group])
    assert mean(values, names) == mean(values, group)
    order = rng.permutation(90)
    shuffled, straight = mean(values[order], names[order]), mean(values, names)
    np.testing.assert_allclose((shuffled.low, shuffled.high), (straight.low, straight.high), rtol=1e-9)


def test_blocked_jackknife_keeps_the_acceleration():
    """Above 500 groups the jackknife joins groups; the interval still agrees with scipy's full one."""
    sample = np.random.default_rng(6).exponential(size=1500) ** 2
    ours = mean(sample, resamples=4000)
    theirs = scipy.stats.bootstrap((sample,), np.mean, n_resamples=4000, rng=np.random.default_rng(7))
    np.testing.assert_allclose((ours.low, ours.high), theirs.confidence_interval, rtol=0.02)


def test_undefined_examples_are_left_out_and_counted():
    values = np.array([1.0, np.nan, 2.0, 3.0, np.nan, 4.0])
    result = mean(values, np.array(list("aabbcc")))
    assert (result.value, result.n) == (2.5, 4)
    np.testing.assert_equal(mean(np.full(3, np.nan)), Interval(math.nan, math.nan, math.nan, 0))
    one_group = mean(values, np.zeros(6))
    assert one_group.value == 2.5 and math.isnan(one_group.low)


def test_a_statistic_that_most_resamples_leave_undefined_has_no_bounds():
    rare = np.r_[1.0, np.zeros(999)]
    result = bootstrap(lambda weight: {"odd": np.where(weight @ rare == 1, 1.0, np.nan)}, 1000)["odd"]
    assert result.value == 1 and math.isnan(result.low) and math.isnan(result.high)


def test_an_interval_survives_json():
    interval = Interval(0.5, math.nan, 0.75, 12)
    text = json.dumps(interval.to_dict(), allow_nan=False)
    np.testing.assert_equal(Interval.from_dict(json.loads(text)), interval)
