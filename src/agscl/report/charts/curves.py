"""Curves over agent steps as SVG: a line for each method in its band, a stretch of time shaded, a level marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from markupsafe import Markup

from agscl.metrics.interval import Range

from .charts import ends_of, marker, stroke
from .colours import SERIES
from .svg import Frame, add, drawing, frame, markup, plain, polyline, ticks, write

Span = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """A value at several times.

    Attributes:
        style: Which colour, dash and marker: the position of the method on the page.
        label: Name of the method.
        points: Times in agent steps, and the value with its interval.
    """

    style: int
    label: str
    points: Sequence[tuple[int, Range]]


def curve_chart(
    label: str, curves: Sequence[Curve], *, end: int, shaded: Span | None = None, level: float | None = None
) -> Markup:
    """Curves over agent steps.

    Args:
        label: Says what is drawn, for those who cannot see it.
        curves: At least one, with at least one point each.
        end: Agent steps at the right end; 0 is at the left.
        shaded: A stretch of time to be marked, in agent steps.
        level: A value to be marked.
    """
    unit, steps = next((u, s) for u, s in _UNITS if end >= 2 * s or s == 1)
    values = [value for curve in curves for _, point in curve.points for value in _bounds(point)]
    values += [level] if level is not None else []
    y = ends_of(min(values), max(values))
    area = frame((0, end), y, height=200, left=_room(ticks(*y)))
    root = drawing(area.height, label)
    if shaded is not None:
        _shade(root, area, shaded)
    area.axes(root, f"{unit}agent steps", [], ticks(*y))
    for tick in ticks(0, end / steps, 5):
        x = area.x(tick * steps)
        write(root, x, area.y.start + 15, plain(tick), class_="tick", text_anchor="middle")
    if level is not None:
        add(root, "path", d=f"M{area.x.start:.1f},{area.y(level):.1f}H{area.x.end:.1f}", class_="level")
    for curve in curves:
        _curve(root, area, curve)
    return markup(root)


_UNITS = (("million ", 1_000_000), ("thousand ", 1000), ("", 1))


def _bounds(point: Range) -> Span:
    """The ends of an interval, or the value twice where there is none."""
    return (point.value, point.value) if math.isnan(point.low) else (point.low, point.high)


def _room(numbers: Sequence[float]) -> float:
    """Room for the numbers on the left, which may be long."""
    return max(38.0, 8 + 6.5 * max(len(plain(number)) for number in numbers))


def _shade(root: Element, area: Frame, shaded: Span) -> None:
    start, end = (area.x(time) for time in shaded)
    top = area.y.end - 4
    add(root, "rect", x=start, y=top, width=end - start, height=area.y.start - top, class_="phase")


def _curve(root: Element, area: Frame, curve: Curve) -> None:
    upper = [(area.x(time), area.y(_bounds(point)[1])) for time, point in curve.points]
    lower = [(area.x(time), area.y(_bounds(point)[0])) for time, point in curve.points]
    if upper != lower:
        add(root, "polygon", points=polyline([*upper, *reversed(lower)]), class_=f"band s{curve.style % len(SERIES)}")
    places = [(area.x(time), area.y(point.value)) for time, point in curve.points]
    add(root, "path", d=f"M{polyline(places)}", class_=stroke(curve.style))
    for x, y in places[:: -(-len(places) // _MARKED)]:
        marker(root, curve.style, x, y)


_MARKED = 24
"""Most markers on a curve."""
