"""How figures look: one colour, marker and name for each method everywhere; readable in print and by the colour-blind.

The colours are those of Okabe and Ito (2008), yellow darkened for white paper; markers and dashes tell methods apart
without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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


class Look(NamedTuple):
    """How a method is drawn, and what it is called."""

    title: str
    color: str
    marker: str
    dashes: str = "-"


LOOKS: Mapping[str, Look] = {
    "ags-cl": Look("AGS-CL", "#d55e00", "o"),
    "ewc": Look("EWC", "#0072b2", "s"),
    "si": Look("SI", "#009e73", "^"),
    "rwalk": Look("RWalk", "#e69f00", "D"),
    "mas": Look("MAS", "#cc79a7", "v"),
    "hat": Look("HAT", "#56b4e9", "P"),
    "lwf": Look("LwF", "#a08a00", "X"),
    "wsn": Look("WSN", "#7b4f9d", "p"),
    "fine-tuning": Look("fine-tuning", "#7f7f7f", "<", "--"),
    "joint": Look("joint", "#000000", ">", ":"),
    "single-task": Look("single task", "#404040", "*", "-."),
}
"""By the method's name; a method without a row is drawn in dark grey under its own name."""


def look_of(label: str) -> Look:
    """How a group is drawn; its label starts with the method's name."""
    name, _, options = label.partition(" ")
    known = LOOKS.get(name, Look(name, "#333333", "h"))
    return known._replace(title=f"{known.title} {options}".strip())


def task_axis(axes: Axes, tasks: int) -> None:
    """Label the x axis with tasks learned, from 1, with as many ticks as can be read."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("tasks learned")
    axes.set_xlim(1 - 0.02 * tasks, tasks + 0.02 * tasks)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=min(tasks, 10), integer=True, steps=[1, 2, 5, 10]))


def fit_to_lines(axes: Axes, low: float, high: float) -> None:
    """Choose the y limits by the lines: an interval of few seeds may be wider than all that there is to see.

    Args:
        axes: With all lines and bands drawn.
        low: Least value that has a meaning.
        high: Greatest value that has a meaning.
    """
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines])
    least, most = float(values.min()), float(values.max())
    room = max(0.35 * (most - least), 2.0)
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(low, bottom, least - room), min(high, top, most + room))


def marks(points: int) -> int:
    """Draw every how manieth marker, so that long curves stay curves."""
    return max(1, points // 10)
