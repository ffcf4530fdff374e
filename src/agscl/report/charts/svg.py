"""Drawings as elements of the standard library, which escapes all text.

Lengths are in the units of the drawing's own view box; the page scales it to the width of its column.
"""

from __future__ import annotations

from collections.abc import Iterable
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


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """Points as the value of ``points`` or, after an ``M``, of a path.

    >>> polyline([(0, 1), (2.5, 3.14159)])
    '0,1 2.5,3.14'
    """
    return " ".join(f"{_number(float(x))},{_number(float(y))}" for x, y in points)


def _number(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
