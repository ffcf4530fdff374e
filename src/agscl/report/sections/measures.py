"""The headline: every measure of every method with its seeds and interval."""

from __future__ import annotations

from agscl.experiments import Result
from agscl.experiments.supervised.comparison import aggregate
from agscl.experiments.words import NOTHING, ONE_SEED, percent, typeset
from agscl.metrics import MEASURES, Range
from agscl.report.blocks import ARROWS, Section, Table, heading, shown
from agscl.report.chapters import Benchmark

_TRIMMED = 4
"""From so many seeds on the interquartile mean differs from the mean."""


def section(benchmark: Benchmark[Result]) -> Section:
    """A table with a row for each method."""
    titles = [entry.title for entry in benchmark.entries]
    rows = dict(zip(titles, aggregate(benchmark.results), strict=True))
    measured = {name for row in rows.values() for name in row.values}
    names = [name for name, measure in MEASURES.items() if measure.in_percent and name in measured]
    trimmed = {
        title: shown(Range(*(100 * bound for bound in row.robust["average_accuracy"])), 1)
        for title, row in rows.items()
        if len(row.seeds) >= _TRIMMED
    }
    head = ["method", "seeds", *map(heading, names), *(["IQM of average accuracy"] if trimmed else [])]
    cells = [
        [title, str(len(row.seeds)), *(typeset(percent(row.measures.get(name))) for name in names)]
        + ([trimmed.get(title, NOTHING)] if trimmed else [])
        for title, row in rows.items()
    ]
    notes = [ARROWS]
    if single := [title for title, row in rows.items() if len(row.seeds) == 1]:
        notes.append(f"{ONE_SEED.capitalize()}: {', '.join(single)}.")
    if lacking := [title for title, row in rows.items() if "plasticity" not in row.values]:
        notes.append(
            "Plasticity compares with fine-tuning of the same seed; such a run is missing for "
            f"{', '.join(lacking)}: report it together with these runs."
        )
    several = any(len(row.seeds) > 1 for row in rows.values())
    caption = f"Measures in percent{': mean over the seeds ± half the width of the 95 % interval' if several else ''}"
    return Section("measures", "Measures", [Table(caption, head, cells, notes)], wide=True)
