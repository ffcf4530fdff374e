"""The page's charts as SVG: lines with intervals, bars, points with intervals, and matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from markupsafe import Markup

from agscl.metrics.interval import Interval

from .colours import SERIES, ink_on, viridis
from .svg import WIDTH, Frame, add, drawing, frame, markup, plain, polyline, task_ticks, ticks, write

NUMBERED = 12
"""Most tasks for which a matrix has its numbers written into it."""


@dataclass(frozen=True)
class Line:
    """A value after each task.

    Attributes:
        style: Which colour, dash and marker: the position of the method on the page.
        label: Name of the method.
        points: Number of the task, from 1, and the value with its interval.
    """

    style: int
    label: str
    points: Sequence[tuple[int, Interval]]


@dataclass(frozen=True)
class Point:
    """Two measures of one method, and those of its single runs."""

    style: int
    label: str
    x: Interval
    y: Interval
    runs: Sequence[tuple[float, float]]


def line_chart(
    label: str, lines: Sequence[Line], *, x_label: str = "tasks learned", highest: float = math.inf
) -> Markup:
    """Lines over the tasks, each in the band of its interval, if it has one.

    Args:
        label: Says what is drawn, for those who cannot see it.
        lines: At least one, with at least one point each.
        x_label: Below the horizontal axis.
        highest: What no value can be above, so that no interval is drawn there.
    """
    tasks = max(number for line in lines for number, _ in line.points)
    low, high = _room([value for line in lines for _, value in line.points])
    ends = ends_of(low, min(high, highest))
    area = frame((1, max(tasks, 2)), ends)
    root = drawing(area.height, label)
    area.axes(root, x_label, task_ticks(tasks), ticks(*ends))
    for line in lines:
        _band(root, area, line)
    for line in lines:
        _line(root, area, line)
    return markup(root)


def scatter(label: str, points: Sequence[Point], names: tuple[str, str]) -> Markup:
    """Points with their intervals, and a dot for each single run.

    Args:
        label: Says what is drawn.
        points: At least one.
        names: What the horizontal and the vertical axis show; the vertical one is written along the axis.
    """
    x = ends_of(*_span([bound for p in points for bound in (*_bounds(p.x), *(run[0] for run in p.runs))]))
    y = ends_of(*_span([bound for p in points for bound in (*_bounds(p.y), *(run[1] for run in p.runs))]))
    area = frame(x, y, height=270, left=48)
    root = drawing(area.height, label)
    area.axes(root, names[0], ticks(*x, 5), ticks(*y))
    middle = (area.y.start + area.y.end) / 2
    write(root, 0, 0, names[1], class_="tick", text_anchor="middle", transform=f"translate(11,{middle:.0f})rotate(-90)")
    for point in points:
        _point(root, area, point)
    return markup(root)


def bar_chart(label: str, bars: Sequence[tuple[int, str, Interval, str]]) -> Markup:
    """Horizontal bars from zero, named above and with their values beside.

    Args:
        label: Says what is drawn.
        bars: Style, name, value and the value as text of each.
    """
    step, room = 34, 118
    most = max(_bounds(value)[1] for _, _, value, _ in bars) or 1.0
    root = drawing(step * len(bars) + 4, label)
    for row, (style, name, value, text) in enumerate(bars):
        y = step * row
        length = max((WIDTH - room) * value.mean / most, 1.0)
        write(root, 0, y + 12, name, class_="name")
        add(root, "rect", x=0, y=y + 17, width=length, height=9, class_=f"bar s{style % len(SERIES)}")
        whisker = (WIDTH - room) * _half(value) / most
        if whisker > 0:
            add(root, "path", d=_whisker(length, y + 21.5, whisker, 0), class_="whisker ink")
        write(root, length + whisker + 6, y + 25.5, text, class_="value")
    return markup(root)


def matrix(label: str, values: Sequence[Sequence[float]], darkest: float) -> Markup:
    """A lower triangle of accuracies in percent: a row after each task, a column for each task.

    Args:
        label: Says what is drawn.
        values: The rows, each one longer than the one before.
        darkest: The percentage that is darkest; 100 is lightest.
    """
    tasks = len(values)
    left, top = 30.0, 26.0
    side = (WIDTH - left - 4) / tasks
    height = min(side, 40.0)
    root = drawing(top + height * tasks + 4, label)
    write(root, left, 9, "accuracy on task", class_="tick")
    for number in task_ticks(tasks):
        write(root, left + side * (number - 0.5), 22, str(number), class_="tick", text_anchor="middle")
        write(root, left - 6, top + height * (number - 0.5) + 3.5, str(number), class_="tick", text_anchor="end")
    for row, accuracies in enumerate(values):
        for column, value in enumerate(accuracies):
            place = (left + side * column, top + height * row, side, height)
            _cell(root, value, place, viridis((value - darkest) / (100 - darkest)), numbered=tasks <= NUMBERED)
    return markup(root)


def swatch(style: int) -> Markup:
    """A short piece of a line, for the key."""
    root = drawing(12, "", width=30)
    root.attrib = {"viewBox": "0 0 30 12", "aria-hidden": "true", "class": "swatch"}
    add(root, "path", d="M1,6H29", class_=stroke(style))
    marker(root, style, 15, 6)
    return markup(root)


def _cell(
    root: Element, value: float, place: tuple[float, float, float, float], colour: str, *, numbered: bool
) -> None:
    x, y, side, height = place
    gap = 1.0 if side > 10 else 0.3  # noqa: PLR2004
    add(root, "rect", x=x, y=y, width=side - gap, height=height - gap, fill=colour)
    if numbered:
        ink = f"in-{ink_on(colour)}"
        write(root, x + (side - gap) / 2, y + height / 2 + 3.5, f"{value:.0f}", class_=ink, text_anchor="middle")


def _line(root: Element, area: Frame, line: Line) -> None:
    places = [(area.x(number), area.y(value.mean)) for number, value in line.points]
    add(root, "path", d=f"M{polyline(places)}", class_=stroke(line.style))
    every = task_ticks(line.points[-1][0]) if len(places) > NUMBERED else None
    for (number, _), (x, y) in zip(line.points, places, strict=True):
        if every is None or number in every:
            marker(root, line.style, x, y)


def _band(root: Element, area: Frame, line: Line) -> None:
    """The interval around a line, cut off at the edge of the plot."""
    if any(_half(value) for _, value in line.points):
        upper = [(area.x(number), area.y.within(value.mean + _half(value))) for number, value in line.points]
        lower = [(area.x(number), area.y.within(value.mean - _half(value))) for number, value in line.points]
        add(root, "polygon", points=polyline([*upper, *reversed(lower)]), class_=f"band s{line.style % len(SERIES)}")


def _point(root: Element, area: Frame, point: Point) -> None:
    colour = f"s{point.style % len(SERIES)}"
    for x, y in point.runs:
        add(root, "circle", cx=area.x(x), cy=area.y(y), r=2, class_=f"run {colour}")
    x, y = area.x(point.x.mean), area.y(point.y.mean)
    wide = area.x(point.x.mean + _half(point.x)) - x
    tall = y - area.y(point.y.mean + _half(point.y))
    if wide or tall:
        add(root, "path", d=_whisker(x, y, wide, tall), class_=f"whisker {colour}")
    marker(root, point.style, x, y, size=5)


def _whisker(x: float, y: float, wide: float, tall: float) -> str:
    return f"M{x - wide:.1f},{y:.1f}H{x + wide:.1f}M{x:.1f},{y - tall:.1f}V{y + tall:.1f}"


_MARKERS = (
    "M-1,0A1,1 0 1 1 1,0A1,1 0 1 1 -1,0Z",
    "M-.9,-.9H.9V.9H-.9Z",
    "M0,-1.15L1.05,.75H-1.05Z",
    "M0,-1.25L1.25,0L0,1.25L-1.25,0Z",
    "M0,1.15L1.05,-.75H-1.05Z",
)
"""Circle, square, triangle, diamond, triangle on its tip: about one unit in radius."""


def marker(root: Element, style: int, x: float, y: float, size: float = 3.2) -> None:
    """Draw the marker of a method."""
    shape = _MARKERS[style % len(_MARKERS)]
    turned = f"translate({x:.1f},{y:.1f})scale({size:g})"
    add(root, "path", d=shape, transform=turned, class_=f"marker s{style % len(SERIES)}")


def stroke(style: int) -> str:
    """The classes of a method's line."""
    dash = " dashed" if style >= len(SERIES) else ""
    return f"line s{style % len(SERIES)}{dash}"


def _half(value: Interval) -> float:
    """Half the width of the interval, 0 where there is none."""
    return 0.0 if math.isnan(value.half_width) else value.half_width


def _bounds(value: Interval) -> tuple[float, float]:
    return value.mean - _half(value), value.mean + _half(value)


def _room(values: Sequence[Interval]) -> tuple[float, float]:
    """The ends of the intervals, but no further from the means than these are from each other, or 1."""
    low, high = _span([value.mean for value in values])
    most = max(high - low, 1.0)
    bounds = [_bounds(value) for value in values]
    return max(min(low for low, _ in bounds), low - most), min(max(high for _, high in bounds), high + most)


def _span(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def ends_of(low: float, high: float) -> tuple[float, float]:
    """A little more than the values need; at least some width."""
    room = max((high - low) * 0.06, abs(high) * 0.005, 1e-9)
    return low - room, high + room


def described(lines: Sequence[Line]) -> str:
    """The ends of each line in words."""
    return "; ".join(
        f"{line.label}: {plain(round(line.points[0][1].mean, 1))} to {plain(round(line.points[-1][1].mean, 1))}"
        for line in lines
    )
