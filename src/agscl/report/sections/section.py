"""A section: a title, a sentence, and parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agscl.report.blocks import Figure, Note, Table
from agscl.report.charts.nodemap import NodeMap


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
    parts: Sequence[Figure | Table | Note | NodeMap]
    wide: bool = False
