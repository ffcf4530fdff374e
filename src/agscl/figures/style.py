"""How figures look: matplotlib's settings, and what figures draw alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .palette import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import Series

SOFT = "#666666"
"""Grey of small print, and of what belongs to no method."""

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
    """Choose the y limits by all lines that are drawn: an interval of few seeds may be wider than all there is to see.

    Values below `low` and above `high` have no meaning.
    """
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines])
    least, most = float(values.min()), float(values.max())
    room = max(0.35 * (most - least), 2.0)
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(low, bottom, least - room), min(high, top, most + room))
