"""A line for each method in the band of its interval, over tasks or over agent steps, with the values as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from agscl.figures.palette import Look
from agscl.metrics.interval import Interval, Range
from agscl.report.blocks import Figure, Table, shown

from .axes import Frame, bounds, frame, plain, span, task_ticks, ticks
from .marks import colour_class, key_of, marker, stroke
from .svg import add, drawing, markup, polyline


@dataclass(frozen=True)
class Line:
    """A value at several places.

    Attributes:
        look: Name, colour, dash and marker.
        points: Number of the task, from 1, or time in agent steps, and the value with its interval.
    """

    look: Look
    points: Sequence[tuple[int, Interval | Range]]


def over_tasks(
    title: str, lines: Sequence[Line], caption: str, *, x_label: str = "tasks learned", highest: float = math.inf
) -> Figure:
    """Lines, of at least one point each, over the tasks; no interval is drawn above the highest possible value."""
    tasks = max(number for line in lines for number, _ in line.points)
    values = [value for line in lines for _, value in line.points]
    means, ends = [value[0] for value in values], [bounds(value) for value in values]
    most = max(max(means) - min(means), 1.0)  # no interval is drawn further from the means than these are apart
    low = max(min(low for low, _ in ends), min(means) - most)
    high = min(max(high for _, high in ends), max(means) + most, highest)
    area = frame((1, max(tasks, 2)), span([low, high]))
    root = drawing(area.height, _in_words(title, lines))
    area.axes(root, x_label, task_ticks(tasks), ticks(area.y.low, area.y.high))
    return _figure(title, lines, caption, root, area, _values(title, lines, x_label))


def over_steps(
    title: str,
    lines: Sequence[Line],
    caption: str,
    *,
    values: str | None = None,
    shaded: tuple[float, float] | None = None,
    level: float | None = None,
) -> Figure:
    """Lines, of at least one point each, over agent steps, from 0 on.

    A stretch of agent steps can be shaded and a level be marked; `values` says what is drawn if the title does not.
    """
    end = max(time for line in lines for time, _ in line.points)
    unit, steps = next((u, s) for u, s in _UNITS if end >= 2 * s or s == 1)
    bound = [bound for line in lines for _, value in line.points for bound in bounds(value)]
    low, high = span(bound + ([level] if level is not None else []))
    room = max(38.0, 8 + 6.5 * max(len(plain(tick)) for tick in ticks(low, high)))  # the numbers may be long
    area = frame((0, end), (low, high), height=200, left=room)
    root = drawing(area.height, _in_words(values or title, lines))
    if shaded is not None:
        (start, stop), top = map(area.x, shaded), area.y.end - 4
        add(root, "rect", x=start, y=top, width=stop - start, height=area.y.start - top, class_="phase")
    area.axes(root, f"{unit}agent steps", ticks(0, end / steps, 5), ticks(low, high), unit=steps)
    if level is not None:
        add(root, "path", d=f"M{area.x.start:.1f},{area.y(level):.1f}H{area.x.end:.1f}", class_="level")
    return _figure(title, lines, caption, root, area, _values(values or title, lines, "agent steps"))


_UNITS = (("million ", 1_000_000), ("thousand ", 1000), ("", 1))

_MARKED = 12
"""Most markers on a line."""


def _figure(title: str, lines: Sequence[Line], caption: str, root: Element, area: Frame, values: Table) -> Figure:
    for line in lines:
        ends = [(area.x(at), *map(area.y.within, bounds(value))) for at, value in line.points]
        if any(low != high for _, low, high in ends):
            band = [*((x, high) for x, _, high in ends), *((x, low) for x, low, _ in reversed(ends))]
            add(root, "polygon", points=polyline(band), class_=f"band {colour_class(line.look)}")
    for line in lines:
        places = [(area.x(at), area.y(value[0])) for at, value in line.points]
        stroke(root, line.look, f"M{polyline(places)}")
        for x, y in places[:: -(-len(places) // _MARKED)]:
            marker(root, line.look, x, y)
    return Figure(title, markup(root), caption, values, key_of(line.look for line in lines))


def _in_words(what: str, lines: Sequence[Line]) -> str:
    """What is drawn, with the ends of each line, for those who cannot see it."""
    ends = [(plain(round(line.points[at][1][0], 2)) for at in (0, -1)) for line in lines]
    told = [f"{line.look.title}: {first} to {last}" for line, (first, last) in zip(lines, ends, strict=True)]
    return f"{what}. {'; '.join(told)}."


def _values(title: str, lines: Sequence[Line], x_label: str) -> Table:
    """What is drawn, a row for each place."""
    columns = [dict(line.points) for line in lines]
    places = sorted({at for column in columns for at in column})
    rows = [[f"{at:,}", *(shown(column.get(at)) for column in columns)] for at in places]
    return Table(title, [x_label, *(line.look.title for line in lines)], rows)
