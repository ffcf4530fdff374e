"""The sections of a benchmark: a function from the benchmark to a section, or to none.

A new section is a function in a module here and a line in `SECTIONS`; its parts bring their templates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agscl.experiments.records import PolicyRun, SupervisedRun
from agscl.report.blocks import Section
from agscl.report.chapters import Benchmark

from . import accuracy, costs, measures, nodes, rewards, scores, tradeoff

SECTIONS: Mapping[type[SupervisedRun | PolicyRun], tuple[Callable[[Benchmark[Any]], Section | None], ...]] = {
    SupervisedRun: (
        measures.section,
        accuracy.curves,
        accuracy.forgetting,
        tradeoff.section,
        accuracy.matrices,
        nodes.section,
        costs.supervised,
    ),
    PolicyRun: (rewards.section, scores.section, costs.policies),
}
"""All sections of each kind of run, in the order of the page."""
