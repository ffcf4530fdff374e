"""Two measures of each method against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from agscl.figures.palette import Look
from agscl.figures.style import ends_of_axis
from agscl.metrics.interval import Interval

from .axes import bounds, frame, span, ticks
from .marks import colour_class, marker
from .svg import add, drawing, markup, write


@dataclass(frozen=True)
class Point:
    """Two measures of one method, and those of its single runs."""

    look: Look
    x: Interval
    y: Interval
    runs: Sequence[tuple[float, float]]


def scatter(label: str, points: Sequence[Point], names: tuple[str, str]) -> Markup:
    """Points (at least one) with their intervals, and a dot for each single run; `names` are of the two axes."""
    x, y = (
        span(ends_of_axis([mean for mean, _ in seen], [end for _, ends in seen for end in ends], least=4.0))
        for seen in (
            [(p.x.mean, bounds(p.x)) for p in points] + [(run[0], ()) for p in points for run in p.runs],
            [(p.y.mean, bounds(p.y)) for p in points] + [(run[1], ()) for p in points for run in p.runs],
        )
    )
    area = frame(x, y, height=270, left=48)
    root = drawing(area.height, label)
    area.axes(root, names[0], ticks(*x, 5), ticks(*y))
    middle = (area.y.start + area.y.end) / 2
    write(root, 0, 0, names[1], class_="tick", text_anchor="middle", transform=f"translate(11,{middle:.0f})rotate(-90)")
    for point in points:
        colour = colour_class(point.look)
        for run_x, run_y in point.runs:
            add(root, "circle", cx=area.x(run_x), cy=area.y(run_y), r=2, class_=f"run {colour}")
        at = area.x(point.x.mean), area.y(point.y.mean)
        (left, right), (bottom, top) = map(area.x.within, bounds(point.x)), map(area.y.within, bounds(point.y))
        if left != right or bottom != top:
            cross = f"M{left:.1f},{at[1]:.1f}H{right:.1f}M{at[0]:.1f},{bottom:.1f}V{top:.1f}"
            add(root, "path", d=cross, class_=f"whisker {colour}")
        marker(root, point.look, *at, size=5)
    return markup(root)
