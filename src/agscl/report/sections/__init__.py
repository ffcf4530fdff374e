"""The sections of a benchmark, one module each: a function from the benchmark to a section, or to none.

A new section is a new module here and a line in `SECTIONS` or `POLICY_SECTIONS`; its parts bring their templates.
"""

from __future__ import annotations

from collections.abc import Callable

from agscl.report.benchmark import Benchmark
from agscl.report.policies import PolicyBenchmark

from . import accuracy, costs, forgetting, measures, nodes, rewards, scores, tradeoff
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
"""All sections of data sets, in the order of the page."""

POLICY_SECTIONS: tuple[Callable[[PolicyBenchmark], Section | None], ...] = (
    rewards.section,
    scores.section,
    costs.policies,
)
"""All sections of reinforcement learning, in the order of the page."""
