"""A mean with its interval equals scipy's."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from agscl.metrics import mean_interval


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=31))
def test_interval_is_that_of_students_t_distribution(values):
    found = mean_interval(values)
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    assert math.isclose(found.half_width, half, rel_tol=1e-3, abs_tol=1e-9)
    assert min(values) - 1e-9 <= found.mean <= max(values) + 1e-9


def test_many_values_give_a_slightly_wide_interval():
    values = [float(number % 7) for number in range(200)]
    exact = stats.t.ppf(0.975, 199) * stats.sem(values)
    assert exact <= mean_interval(values).half_width <= 1.05 * exact


def test_one_value_has_no_interval_and_none_is_refused():
    assert mean_interval([2.0]).mean == 2.0
    assert math.isnan(mean_interval([2.0]).half_width)
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])
