"""What protection costs: bytes that are kept, and time."""

from __future__ import annotations

from markupsafe import Markup

from agscl.metrics.interval import Interval, mean_interval
from agscl.report.benchmark import Benchmark, Entry
from agscl.report.charts import bar_chart
from agscl.report.parts import Figure, Table, duration, size

from .section import Section


def section(benchmark: Benchmark) -> Section:
    """Memory in both ways of counting, and wall time."""
    return Section("costs", "Memory and time", [*_memory(benchmark), _time(benchmark)], wide=True)


def _memory(benchmark: Benchmark) -> list[Figure]:
    """Bytes after the last task: regularization parameters alone, and all that a method keeps."""
    rows = [[entry.label, *(size(entry.row.measures[name]) for name in _BYTES)] for entry in benchmark.entries]
    values = Table("Memory after the last task", ["method", *_BYTES.values()], rows)
    return [
        Figure(
            title=title[0].upper() + title[1:],
            drawing=_bars(f"{title}, after the last task", benchmark, name, rows, column),
            caption=_CAPTIONS[name],
            values=values,
        )
        for column, (name, title) in enumerate(_BYTES.items(), 1)
    ]


_BYTES = {"regularization_bytes": "regularization parameters", "memory_bytes": "everything kept"}
_CAPTIONS = {
    "regularization_bytes": "As figure 6(a) of the AGS-CL paper counts: importance and the like, no copies of weights.",
    "memory_bytes": "All that is kept from one task to the next beside the model, copies of weights included.",
}


def _time(benchmark: Benchmark) -> Figure:
    """Wall time of the whole sequence."""
    spent = [(entry.label, entry.row.measures["seconds"], _per_epoch(entry)) for entry in benchmark.entries]
    rows = [[label, duration(whole), duration(epoch)] for label, whole, epoch in spent]
    return Figure(
        title="Wall time of the whole sequence",
        drawing=_bars("Wall time of the whole sequence", benchmark, "seconds", rows, 1),
        caption="Training, consolidation and evaluation, mean over the seeds. Runs that shared a machine slowed each "
        "other down.",
        values=Table("Wall time", ["method", "whole sequence", "an epoch of training"], rows),
    )


def _bars(what: str, benchmark: Benchmark, name: str, rows: list[list[str]], column: int) -> Markup:
    bars = [
        (style, entry.label, entry.row.measures[name], rows[style][column])
        for style, entry in enumerate(benchmark.entries)
    ]
    return bar_chart(f"{what}: {'; '.join(f'{row[0]} {row[column]}' for row in rows)}.", bars)


def _per_epoch(entry: Entry) -> Interval:
    tasks = [result.history.tasks for result in entry.results]
    return mean_interval([sum(t.seconds for t in run) / max(sum(t.epochs for t in run), 1) for run in tasks])
