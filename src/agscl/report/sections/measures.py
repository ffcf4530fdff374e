"""The headline: every measure of every method with its seeds and interval."""

from __future__ import annotations

from collections.abc import Iterator

from agscl.metrics import MEASURES, Range
from agscl.report.benchmark import Benchmark, Entry
from agscl.report.blocks import NOTHING, Table, percent

from .section import Section

_SHOWN = (
    "average_accuracy",
    "learning_accuracy",
    "forgetting",
    "backward_transfer",
    "plasticity",
    "stability",
    "intransigence",
)
_TRIMMED = 4
"""From so many seeds on the interquartile mean differs from the mean."""


def section(benchmark: Benchmark) -> Section:
    """A table with a row for each method."""
    names = [name for name in _SHOWN if any(name in entry.row.measures for entry in benchmark.entries)]
    trimmed = any(len(entry.runs) >= _TRIMMED for entry in benchmark.entries)
    head = ["method", "seeds", *(_heading(name) for name in names), *(["IQM of average accuracy"] if trimmed else [])]
    rows = [
        [
            entry.label,
            str(len(entry.runs)),
            *(percent(entry.row.measures.get(name)) for name in names),
            *([_trimmed(entry)] if trimmed else []),
        ]
        for entry in benchmark.entries
    ]
    caption = "Measures in percent: mean over the seeds ± half the width of the 95 % interval"
    return Section("measures", "Measures", [Table(caption, head, rows, list(_notes(benchmark)))], wide=True)


def _heading(name: str) -> str:
    measure = MEASURES[name]
    arrow = {True: "\N{NO-BREAK SPACE}↑", False: "\N{NO-BREAK SPACE}↓", None: ""}[measure.higher_is_better]
    return measure.title + arrow


def _trimmed(entry: Entry) -> str:
    if len(entry.runs) < _TRIMMED:
        return NOTHING
    return _range(Range(*(100 * bound for bound in entry.row.robust["average_accuracy"])))


def _range(found: Range) -> str:
    return f"{found.value:.1f} [{found.low:.1f}, {found.high:.1f}]"


def _notes(benchmark: Benchmark) -> Iterator[str]:
    yield "↑ higher is better, ↓ lower is better."
    single = [entry.label for entry in benchmark.entries if len(entry.runs) == 1]
    if single:
        yield f"One seed, so no interval: {', '.join(single)}."
    lacking = [entry.label for entry in benchmark.entries if "plasticity" not in entry.row.measures]
    if lacking:
        yield (
            "Plasticity compares with fine-tuning of the same seed; such a run is missing for "
            f"{', '.join(lacking)}: report it together with these runs."
        )
