"""A section, and what it is made of. Each part has a template of its own: text becomes a page in one place only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from markupsafe import Markup

from agscl.experiments.words import typeset, with_interval, with_range
from agscl.metrics import MEASURES
from agscl.metrics.interval import Interval, Range


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
class Figure:
    """A drawing with its caption and the table of what is drawn.

    Attributes:
        title: Above the drawing.
        drawing: The drawing.
        caption: Below it: what is shown, and of which seeds.
        values: The same as a table.
        key: What the colours and markers mean: a swatch and a name each.
    """

    template: ClassVar[str] = "figure.html"
    title: str
    drawing: Markup
    caption: str
    values: Table
    key: Sequence[tuple[Markup, str]] = ()


@dataclass(frozen=True)
class Note:
    """A plain statement."""

    template: ClassVar[str] = "note.html"
    text: str


class Part(Protocol):
    """Anything with a template, which finds it as ``part``."""

    template: ClassVar[str]


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading.

    Attributes:
        name: For links, unique within a benchmark.
        title: The heading.
        parts: What is in it.
        wide: Whether it takes the whole width of the page, or shares a row with its neighbours.
    """

    name: str
    title: str
    parts: Sequence[Part]
    wide: bool = False


def shown(value: Interval | Range | None, digits: int | None = None) -> str:
    """A value with its interval, if it has one, as a cell.

    >>> shown(Interval(-12.34, 0.5)), shown(Range(0.5, 0.25, 1.0)), shown(None)
    ('−12.3 ± 0.5', '0.50 [0.25, 1.00]', '-')
    """  # noqa: RUF002
    if isinstance(value, Range):
        return typeset(with_range(value, 2 if digits is None else digits))
    return typeset(with_interval(value, 1 if digits is None else digits))


def heading(measure: str) -> str:
    """The title of a measure over a column, with an arrow to the better side.

    >>> heading("average_accuracy").split(), heading("sparsity")
    (['average', 'accuracy', '↑'], 'sparsity')
    """
    known = MEASURES[measure]
    arrow = {True: "\N{NO-BREAK SPACE}↑", False: "\N{NO-BREAK SPACE}↓", None: ""}[known.higher_is_better]
    return known.title + arrow


ARROWS = "↑ higher is better, ↓ lower is better."
"""What the arrows in a heading mean."""
