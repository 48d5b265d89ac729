"""Paired tests against scipy, corrections against published arithmetic, agreement at its ends."""

import itertools

import numpy as np
import pytest
import scipy.stats

from spermjax.evaluate.comparison import benjamini_hochberg, compare, holm, kendall_w, mcnemar, paired_permutation


@pytest.mark.parametrize("n", [8, 40])
def test_permutation_of_independent_pairs_is_scipys(n):
    difference = np.random.default_rng(0).normal(0.3, 1.0, n)
    theirs = scipy.stats.permutation_test(
        (difference, np.zeros(n)), lambda a, b: (a - b).mean(), permutation_type="samples", n_resamples=10_000
    ).pvalue
    assert paired_permutation(difference) == pytest.approx(theirs, abs=0.02 if n > 13 else 1e-12)


def test_copies_of_an_example_are_no_evidence():
    difference = np.random.default_rng(1).normal(0.4, 1.0, 10)
    copied, group = np.repeat(difference, 20), np.repeat(np.arange(10), 20)
    assert paired_permutation(copied, group) == pytest.approx(paired_permutation(difference))
    assert paired_permutation(copied) < 0.1 * paired_permutation(copied, group)


def test_false_claims_are_as_rare_as_the_level():
    """Differences without a mean, clustered in groups of four: a tenth of all p lie below one tenth."""
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(12), 4)
    p = [
        paired_permutation(rng.normal(size=12)[group] + 0.2 * rng.normal(size=48), group, permutations=2000)
        for _ in range(400)
    ]
    assert 0.06 <= np.mean(np.array(p) <= 0.1) <= 0.14


def test_mcnemar_counts_only_disagreement():
    first = np.array([True] * 50 + [True] * 9 + [False] * 2 + [False] * 30)
    second = np.array([True] * 50 + [False] * 9 + [True] * 2 + [False] * 30)
    assert mcnemar(first, second) == pytest.approx(scipy.stats.binomtest(9, 11).pvalue)
    assert mcnemar(first[50:61], second[50:61]) == mcnemar(first, second)
    assert mcnemar(first, first) == 1.0


def test_corrections():
    """Benjamini-Hochberg is scipy's; Holm's is computed from its definition, test by test."""
    p = np.random.default_rng(3).uniform(0, 0.2, 9)
    np.testing.assert_allclose(benjamini_hochberg(p), scipy.stats.false_discovery_control(p))
    expected = [min(1.0, max(sum(p >= q) * q for q in p if q <= value)) for value in p]
    np.testing.assert_allclose(holm(p), expected)
    with_missing = holm(np.insert(p, 4, np.nan))
    np.testing.assert_allclose(np.delete(with_missing, 4), expected)
    assert np.isnan(with_missing[4])


def test_comparisons_say_how_many_examples_define_both():
    rng = np.random.default_rng(4)
    base = rng.normal(size=60)
    values = {"a": base + 0.8 + 0.2 * rng.normal(size=60), "b": base, "c": base + 0.05 * rng.normal(size=60)}
    values["b"][:10] = np.nan
    results = {(c.first, c.second): c for c in compare(values)}
    assert set(results) == set(itertools.combinations("abc", 2))
    assert results["a", "b"].difference.n == 50
    assert results["a", "b"].difference.low > 0.6 and results["a", "b"].p_adjusted < 0.01
    assert results["b", "c"].p_adjusted > 0.05
    assert all(c.p <= c.p_adjusted for c in results.values())
    assert results["a", "b"].to_dict()["n"] == 50


def test_agreement_at_its_ends_and_by_spearman():
    """Witness: W is linear in the mean Spearman correlation between raters (Kendall & Gibbons 1990)."""
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(3, 4, 20))
    expected = [
        ((4 - 1) * np.mean([scipy.stats.spearmanr(a, b).statistic for a, b in itertools.combinations(s, 2)]) + 1) / 4
        for s in scores
    ]
    np.testing.assert_allclose(kendall_w(scores), expected)
    np.testing.assert_allclose(kendall_w(np.repeat(scores[:, :1], 3, axis=1) * [[[1.0], [5.0], [9.0]]]), 1.0)
    opposed = np.stack([scores[:, 0], -scores[:, 0]], axis=1)
    np.testing.assert_allclose(kendall_w(opposed), 0.0, atol=1e-12)
    levels = rng.integers(0, 4, 20).astype(float)
    np.testing.assert_allclose(kendall_w(np.stack([levels, levels])[None]), 1.0)
    undefined = scores.copy()
    undefined[1, 0, 0] = np.nan
    np.testing.assert_array_equal(np.isnan(kendall_w(undefined)), [False, True, False])
    assert np.isnan(kendall_w(np.ones((1, 3, 5)))).all()
