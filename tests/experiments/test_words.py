"""One wording for numbers, seeds and hyper-parameters."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agscl.experiments.words import NOTHING, number, percent, seeds, size, spans, typeset, with_interval, with_range
from agscl.metrics.interval import Interval, Range

NUMBERS = st.floats(-1e9, 1e9)


@given(NUMBERS, st.integers(0, 4))
def test_a_number_reads_back_as_what_it_is_and_zero_has_no_minus(value, digits):
    shown = number(value, digits)
    assert float(shown.replace(",", "")) == pytest.approx(value, abs=0.5000001 * 10**-digits)
    assert not (shown.startswith("-") and float(shown.replace(",", "")) == 0)


@given(NUMBERS)
def test_a_signed_number_says_its_sign(value):
    assert number(value, signed=True)[0] == ("-" if round(value, 1) < 0 else "+")


@pytest.mark.parametrize("half", [0.0, math.nan])
def test_an_interval_that_is_unknown_or_empty_is_not_shown(half):
    assert with_interval(Interval(-0.04, half)) == "0.0"
    assert with_range(Range(1, math.nan, math.nan)) == with_range(Range(1, 1, 1)) == "1.00"


def test_what_was_not_measured_is_a_dash_everywhere():
    empty = [number(math.nan), with_interval(Interval(math.nan, math.nan)), percent(math.nan), percent(None)]
    empty += [with_interval(None), with_range(None), with_range(Range(math.nan, math.nan, math.nan))]
    assert {typeset(text) for text in empty} == {NOTHING}


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),  # never 1,000.0 kB
        (12_345_678, "12.3 MB"),
        (5e15, "5,000.0 TB"),
    ],
)
def test_bytes_have_a_decimal_unit_that_keeps_them_short(count, shown):
    assert size(count) == shown


@given(st.sets(st.integers(0, 30), min_size=1))
def test_spans_name_each_number_once(numbers):
    ends = [list(map(int, span.split("-"))) for span in spans(numbers).split(", ")]
    assert [n for span in ends for n in range(span[0], span[-1] + 1)] == sorted(numbers)
    assert seeds(numbers).startswith("seed " if len(numbers) == 1 else "seeds ")
