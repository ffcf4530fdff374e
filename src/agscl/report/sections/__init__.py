"""The sections of a benchmark, one module each: a function from the benchmark to a section, or to none.

A new section is a new module here and a line in `SECTIONS`; its parts bring their templates.
"""

from __future__ import annotations

from collections.abc import Callable

from agscl.report.benchmark import Benchmark

from . import accuracy, costs, forgetting, measures, nodes, tradeoff
from .section import Section as Section

SECTIONS: tuple[Callable[[Benchmark], Section | None], ...] = (
    measures.section,
    accuracy.curves,
    forgetting.section,
    tradeoff.section,
    accuracy.matrices,
    nodes.section,
    costs.section,
)
"""All sections, in the order of the page."""
