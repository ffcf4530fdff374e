"""Interquartile means, bootstrap intervals and paired tests against SciPy and against their meaning."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from agscl.metrics import interquartile_mean, iqm_interval, mean_interval, paired_difference

VALUES = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=30)
PAIRS = st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=2, max_size=8)


@given(VALUES)
def test_the_interquartile_mean_is_the_trimmed_mean(values):
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25), abs=1e-12)


def test_the_bootstrap_interval_agrees_with_scipy():
    values = np.random.default_rng(0).normal(size=20)
    reference = stats.bootstrap(
        (values,), lambda v, axis: stats.trim_mean(v, 0.25, axis=axis), method="percentile", rng=1
    ).confidence_interval
    found = iqm_interval(values.tolist())
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=0.05)
    assert found == iqm_interval(values.tolist())


@given(VALUES)
def test_an_interval_holds_its_value_and_stays_among_the_runs(values):
    value, low, high = iqm_interval(values)
    if len(values) == 1:
        assert math.isnan(low)
        assert math.isnan(high)
    else:
        assert min(values) - 1e-12 <= low <= value + 1e-12
        assert value - 1e-12 <= high <= max(values) + 1e-12


@given(PAIRS)
def test_the_sign_flip_test_agrees_with_scipy(pairs):
    first, second = zip(*pairs, strict=True)
    reference = stats.permutation_test(
        (np.array(first), np.array(second)), lambda x, y: np.mean(x - y), permutation_type="samples"
    )
    found = paired_difference(first, second)
    assert found.p_value == pytest.approx(reference.pvalue)
    assert found.interval == mean_interval([one - other for one, other in pairs]) or math.isnan(
        found.interval.half_width
    )


def test_five_seeds_cannot_reach_five_percent_and_one_has_no_test():
    assert paired_difference([1, 2, 3, 4, 5], [0] * 5).p_value == 2 / 2**5
    assert math.isnan(paired_difference([1.0], [0.0]).p_value)


def test_many_pairs_are_drawn_and_agree_with_the_exact_test():
    differences = np.random.default_rng(1).normal(0.5, 1, 18)
    reference = stats.permutation_test(
        (differences, np.zeros(18)), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=20_000, rng=2
    )
    assert paired_difference(differences.tolist(), [0.0] * 18).p_value == pytest.approx(reference.pvalue, abs=0.01)


@pytest.mark.parametrize("statistic", [interquartile_mean, iqm_interval])
def test_no_values_are_refused(statistic):
    with pytest.raises(ValueError, match="no values"):
        statistic([])


def test_pairs_need_both_sides():
    with pytest.raises(ValueError, match="as many values on both sides, got 2 and 1"):
        paired_difference([1, 2], [1])
