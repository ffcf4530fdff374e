"""Scales and colours of the report's charts."""

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from agscl.figures.palette import LOOKS, OTHERS, SHADES
from agscl.report.charts.axes import task_ticks, ticks
from agscl.report.charts.colours import ink_on, task_colour, viridis
from agscl.report.charts.marks import colour_class, swatch


@given(st.floats(0, 1))
def test_the_colour_scale_is_viridis(share):
    expected = mpl.colormaps["viridis"](share)[:3]
    assert to_rgb(viridis(share)) == pytest.approx(expected, abs=0.06)


def luminance(colour):
    """Relative luminance, WCAG 2.2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@given(st.floats(0, 1))
def test_numbers_can_be_read_on_every_colour(share):
    assert contrast(ink_on(viridis(share)), viridis(share)) > 4.5


def test_lines_stand_out_on_both_papers():
    for shade in SHADES:
        assert contrast(shade.light, "#fdfdfc") > 3
        assert contrast(shade.dark, "#15171a") > 3


def test_every_look_can_be_drawn_and_told_from_the_others_by_shape_alone():
    looks = [*LOOKS.values(), *OTHERS]
    drawn = [str(swatch(look)).replace(colour_class(look), "") for look in looks]
    assert len(set(drawn)) == len(looks)


@given(st.integers(2, 50))
def test_tasks_grow_lighter_one_after_the_other(tasks):
    found = [luminance(task_colour(task, tasks)) for task in range(tasks)]
    assert found == sorted(set(found))


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_evenly_spaced_and_inside(low, span):
    high = low + span
    found = ticks(low, high)
    assert len(found) <= 7
    assert all(low - span * 1e-6 - 1e-9 <= tick <= high + span * 1e-6 + 1e-9 for tick in found)


@given(st.integers(1, 1000))
def test_tasks_are_numbered_with_room_between(tasks):
    found = task_ticks(tasks)
    assert found[0] == 1
    assert found[-1] <= tasks
    assert len(found) <= 13
