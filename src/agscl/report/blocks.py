"""What a section is made of. Each part has a template of its own, so that text becomes a page in one place only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup

from agscl.metrics.interval import Interval, Range

NOTHING = "-"
"""Shown where there is no value."""


@dataclass(frozen=True)
class Table:
    """Rows under a head; the first column names the row.

    Attributes:
        caption: What the table shows.
        head: A title for each column.
        rows: The cells, as they are shown.
        notes: Lines below the table.
    """

    template: ClassVar[str] = "table.html"
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Key:
    """What the colours and markers of a chart mean: a swatch and a name each."""

    entries: Sequence[tuple[Markup, str]]


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption and the table of what is drawn.

    Attributes:
        title: Above the drawing.
        drawing: The drawing.
        caption: Below it: what is shown, and of which seeds.
        values: The same as a table.
        key: What the colours mean.
    """

    template: ClassVar[str] = "figure.html"
    title: str
    drawing: Markup
    caption: str
    values: Table
    key: Key = field(default=Key(()))


@dataclass(frozen=True)
class Note:
    """A plain statement."""

    template: ClassVar[str] = "note.html"
    text: str


def percent(value: Interval | None, digits: int = 1) -> str:
    """A share in percent with its interval, if it has one."""
    return NOTHING if value is None else with_interval(hundredfold(value), digits)


def with_interval(value: Interval, digits: int = 1) -> str:
    """A mean, and half the width of its interval if it has any."""
    mean = f"{_no_minus_zero(value.mean, digits):,.{digits}f}".replace("-", "\N{MINUS SIGN}")
    known = value.half_width > 0  # NaN for one seed, 0 where all seeds agree
    return f"{mean} ± {value.half_width:,.{digits}f}" if known else mean


def with_range(value: Range, digits: int = 2) -> str:
    """A value, and the two ends of its interval if it has any."""
    shown = [f"{_no_minus_zero(bound, digits):,.{digits}f}".replace("-", "\N{MINUS SIGN}") for bound in value]
    known = value.high > value.low  # NaN for one seed, equal where all seeds agree
    return f"{shown[0]} [{shown[1]}, {shown[2]}]" if known else shown[0]


def hundredfold(value: Interval) -> Interval:
    """A share as percent."""
    return Interval(100 * value.mean, 100 * value.half_width)


def size(value: Interval) -> str:
    """A number of bytes with its interval in a unit that keeps it short."""
    power = min(max(int(math.log10(max(value.mean, 1)) // 3), 0), 4)
    unit = ("B", "kB", "MB", "GB", "TB")[power]
    scaled = Interval(value.mean / 1000**power, value.half_width / 1000**power)
    return f"{with_interval(scaled, 1 if power else 0)} {unit}"


def duration(value: Interval) -> str:
    """Seconds with their interval, in minutes or hours if there are many."""
    unit, length = next((u, s) for u, s in (("h", 3600), ("min", 60), ("s", 1)) if value.mean >= 2 * s or s == 1)
    return f"{with_interval(Interval(value.mean / length, value.half_width / length))} {unit}"


def _no_minus_zero(value: float, digits: int) -> float:
    return 0.0 if round(value, digits) == 0 else value
