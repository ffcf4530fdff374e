"""Drawings as elements of the standard library, which escapes all text, and the axes that charts share.

Lengths are in the units of the drawing's own view box; the page scales it to the width of its column.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

WIDTH = 360
"""Width of a chart: a phone's, so that text keeps its size there."""


def drawing(height: float, label: str, *, width: float = WIDTH) -> Element:
    """An empty drawing; the label is what a screen reader says."""
    box = f"0 0 {_number(width)} {_number(height)}"
    return Element("svg", {"viewBox": box, "role": "img", "aria-label": label})


def add(parent: Element, tag: str, **attributes: object) -> Element:
    """Add an element; ``stroke_width`` becomes ``stroke-width``, ``class_`` becomes ``class``."""
    named = {name.rstrip("_").replace("_", "-"): _number(value) for name, value in attributes.items()}
    return SubElement(parent, tag, named)


def write(parent: Element, x: float, y: float, text: str, **attributes: object) -> None:
    """Add a line of text."""
    add(parent, "text", x=x, y=y, **attributes).text = text


def markup(root: Element) -> Markup:
    """The drawing as part of a page."""
    return Markup(tostring(root, encoding="unicode"))


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

    def axes(self, root: Element, x_label: str, x_ticks: Iterable[float], y_ticks: Iterable[float]) -> None:
        """Draw grid lines, ticks and the name of the horizontal axis; the page's caption names the vertical one."""
        for value in y_ticks:
            y = self.y(value)
            add(root, "line", x1=self.x.start, x2=self.x.end, y1=y, y2=y, class_="grid")
            write(root, self.x.start - 6, y + 3.5, plain(value), class_="tick", text_anchor="end")
        for value in x_ticks:
            write(root, self.x(value), self.y.start + 15, plain(value), class_="tick", text_anchor="middle")
        middle = (self.x.start + self.x.end) / 2
        write(root, middle, self.height - 4, x_label, class_="tick", text_anchor="middle")


def frame(x: tuple[float, float], y: tuple[float, float], *, height: float = 240, left: float = 38) -> Frame:
    """A frame for values between the given ends; a little room is left inside on both sides."""
    return Frame(Scale(*x, left + 8, WIDTH - 12), Scale(*y, height - 36, 10), height)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two ends, no more than so many."""
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
    """A number as short as it can be."""
    return f"{value:g}"


def _number(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """Points as the value of ``points`` or, after an ``M``, of a path."""
    return " ".join(_pairs(points))


def _pairs(points: Iterable[tuple[float, float]]) -> Iterator[str]:
    for x, y in points:
        yield f"{_number(float(x))},{_number(float(y))}"
