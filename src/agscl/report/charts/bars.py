"""A bar for each method."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from agscl.figures.palette import Look
from agscl.metrics.interval import Interval

from .axes import bounds
from .marks import colour_class
from .svg import WIDTH, add, drawing, markup, write

STEP, ROOM = 34, 118
"""Height of a bar with its name above, and width of the room for the value beside."""


def bar_chart(label: str, bars: Sequence[tuple[Look, Interval, str]]) -> Markup:
    """Horizontal bars from zero: each with its name above and its value, given as text as well, beside."""
    unit = (WIDTH - ROOM) / (max(bounds(value)[1] for _, value, _ in bars) or 1.0)
    root = drawing(STEP * len(bars) + 4, label)
    for row, (look, value, text) in enumerate(bars):
        y = STEP * row
        length, whisker = max(unit * value.mean, 1.0), unit * (bounds(value)[1] - value.mean)
        write(root, 0, y + 12, look.title, class_="name")
        add(root, "rect", x=0, y=y + 17, width=length, height=9, class_=f"bar {colour_class(look)}")
        if whisker > 0:
            ends = f"M{length - whisker:.1f},{y + 21.5:.1f}H{length + whisker:.1f}"
            add(root, "path", d=ends, class_="whisker ink")
        write(root, length + whisker + 6, y + 25.5, text, class_="value")
    return markup(root)
