"""How figures look: matplotlib's settings, and what figures draw alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .palette import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import Series

SOFT = "#666666"
"""Grey of small print, and of what belongs to no method."""

PANEL = (260.0, 170.0)
"""About the width and height of a panel's axes, in points, for what has to be placed before a figure has its size."""

SETTINGS: Mapping[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#4d4d4d",
    "axes.grid": True,
    "axes.labelcolor": "#1a1a1a",
    "axes.labelsize": 9,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "savefig.facecolor": "white",
    "svg.hashsalt": "agscl",  # the same runs give the same bytes
    "xtick.color": "#4d4d4d",
    "xtick.labelsize": 8.5,
    "xtick.major.width": 0.7,
    "ytick.color": "#4d4d4d",
    "ytick.labelsize": 8.5,
    "ytick.major.width": 0.7,
}
"""matplotlib's settings while a figure is made."""


def draw_line(axes: Axes, look: Look, x: Series, mean: Series, low: Series, high: Series, **changes: Any) -> None:
    """Draw a line with at most about ten markers, in the band from low to high: NaN where there is no interval.

    Further settings are those of `matplotlib.lines.Line2D`.
    """
    line = {"color": look.color, "marker": look.marker, "linestyle": look.dashes, "markevery": max(1, len(x) // 10)}
    axes.plot(x, mean, label=look.title, **{**line, **changes})
    if not low.is_nan().all():
        axes.fill_between(x, low, high, color=look.color, alpha=0.13, linewidth=0)


def task_axis(axes: Axes, tasks: int) -> None:
    """Label the x axis with tasks learned, from 1, with as many ticks as can be read."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("tasks learned")
    axes.set_xlim(1 - 0.02 * tasks, tasks + 0.02 * tasks)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=min(tasks, 10), integer=True, steps=[1, 2, 5, 10]))


def fit_to_lines(axes: Axes, low: float, high: float) -> None:
    """Choose the y limits by all lines that are drawn: see `ends_of_axis`."""
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines])
    axes.set_ylim(ends_of_axis(values, axes.get_ylim(), least=2.0, low=low, high=high))


def ends_of_axis(
    points: Iterable[float],
    ends: Iterable[float],
    *,
    least: float,
    low: float = -math.inf,
    high: float = math.inf,
) -> tuple[float, float]:
    """The two ends of an axis that follows its points: an interval of few seeds may be wider than all there is to see.

    Intervals are in full as long as they reach no further from the points than a third of what these are apart.

    Args:
        points: What must be seen.
        ends: Ends of the intervals, NaN where there is none.
        least: The axis is at least so long, in its own unit.
        low: Values below have no meaning.
        high: Values above have none.

    >>> ends_of_axis([0.8, 1.0], [-0.4, 2.1, float("nan")], least=0.1)
    (0.73, 1.07)
    >>> ends_of_axis([0.0, 0.0], [0.0], least=2.0)
    (-1.0, 1.0)
    """
    seen = [point for point in points if math.isfinite(point)]
    reached = [*(end for end in ends if math.isfinite(end)), *seen]
    room = max(0.35 * (max(seen) - min(seen)), least / 2)
    bottom, top = max(low, min(reached), min(seen) - room), min(high, max(reached), max(seen) + room)
    if top - bottom < least:
        bottom, top = max(low, bottom - least / 2), min(high, top + least / 2)
    return round(bottom, 12), round(top, 12)


def label_points(axes: Axes, labels: Sequence[tuple[float, float, str, str]]) -> None:
    """Write small labels (x, y, text, colour) beside their points, each where it covers no point and no other label.

    A label for which there is no such place is left out. Limits of the axes must be set before.
    """
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    places = [((x - left) / (right - left) * PANEL[0], (y - bottom) / (top - bottom) * PANEL[1]) for x, y, *_ in labels]
    taken = [(x - 3.0, y - 3.0, x + 3.0, y + 3.0) for x, y in places]
    for (x, y), (at_x, at_y, text, color) in zip(places, labels, strict=True):
        wide = 3.9 * len(text)
        for right_by, up_by in ((4.0, 3.0), (4.0, -8.0), (-4 - wide, 3.0), (-4 - wide, -8.0), (-wide / 2, 6.0)):
            box = (x + right_by, y + up_by, x + right_by + wide, y + up_by + 5.5)
            if not any(_overlap(box, other) for other in taken):
                taken.append(box)
                offset = (right_by, up_by)
                axes.annotate(text, (at_x, at_y), offset, textcoords="offset points", fontsize=6, color=color)
                break


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
