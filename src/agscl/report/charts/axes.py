"""The axes that charts share: values to places, ticks, and the ends of intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from agscl.experiments.words import typeset
from agscl.metrics.interval import Interval, Range

from .svg import WIDTH, add, write


@dataclass(frozen=True)
class Scale:
    """A line from values to places on the drawing."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        span = (self.high - self.low) or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)

    def within(self, value: float) -> float:
        """The place of a value, or the end of the line if it lies beyond."""
        return self(min(max(value, self.low), self.high))


@dataclass(frozen=True)
class Frame:
    """A plot's area with a scale on each side.

    Attributes:
        x: Left to right.
        y: Bottom to top.
        height: Of the whole drawing.
    """

    x: Scale
    y: Scale
    height: float

    def axes(
        self, root: Element, x_label: str, x_ticks: Iterable[float], y_ticks: Iterable[float], *, unit: float = 1
    ) -> None:
        """Draw grid lines, ticks and the name of the horizontal axis; the page's caption names the vertical one.

        Ticks of the horizontal axis count in its unit.
        """
        for value in y_ticks:
            y = self.y(value)
            add(root, "line", x1=self.x.start, x2=self.x.end, y1=y, y2=y, class_="grid")
            write(root, self.x.start - 6, y + 3.5, plain(value), class_="tick", text_anchor="end")
        for value in x_ticks:
            write(root, self.x(value * unit), self.y.start + 15, plain(value), class_="tick", text_anchor="middle")
        middle = (self.x.start + self.x.end) / 2
        write(root, middle, self.height - 4, x_label, class_="tick", text_anchor="middle")


def frame(x: tuple[float, float], y: tuple[float, float], *, height: float = 240, left: float = 38) -> Frame:
    """A frame for values between the given ends; a little room is left inside on both sides."""
    return Frame(Scale(*x, left + 8, WIDTH - 12), Scale(*y, height - 36, 10), height)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two ends, not many more than `most`.

    >>> ticks(0, 97), ticks(62, 71)
    ([0.0, 20.0, 40.0, 60.0, 80.0], [62.0, 64.0, 66.0, 68.0, 70.0])
    """
    if high <= low:
        return [low]
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def task_ticks(tasks: int) -> list[int]:
    """Numbers of tasks, from 1, with room between them."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100) if tasks / step <= 12 or step == 100)  # noqa: PLR2004
    return sorted({1, *range(step, tasks + 1, step)})


def plain(value: float) -> str:
    """A number as short as it can be.

    >>> plain(0.50), plain(1e6)
    ('0.5', '1e+06')
    """
    return typeset(f"{value:g}")


def bounds(value: Interval | Range) -> tuple[float, float]:
    """The ends of an interval; the value twice where there is none.

    >>> bounds(Interval(3.0, 1.0)), bounds(Interval(3.0, math.nan)), bounds(Range(3.0, 2.0, 5.0))
    ((2.0, 4.0), (3.0, 3.0), (2.0, 5.0))
    """
    middle, *rest = value
    low, high = rest if isinstance(value, Range) else (middle - rest[0], middle + rest[0])
    return (middle, middle) if math.isnan(low) else (low, high)


def span(values: Sequence[float]) -> tuple[float, float]:
    """A little more than the values need; at least some width."""
    low, high = min(values), max(values)
    room = max((high - low) * 0.06, abs(high) * 0.005, 1e-9)
    return low - room, high + room
