"""What protection costs: bytes that are kept, and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from agscl.experiments.groups import Group
from agscl.experiments.policies.result import PolicyResult
from agscl.metrics.interval import Interval, mean_interval
from agscl.report.benchmark import Benchmark, Entry
from agscl.report.blocks import Figure, Table, duration, size, with_interval
from agscl.report.charts.charts import bar_chart
from agscl.report.policies import PolicyBenchmark

from .section import Section


@dataclass(frozen=True)
class Cost:
    """What one method takes.

    Attributes:
        label: The method.
        measures: Bytes in both ways of counting and seconds, by name.
        pace: How fast it learned.
    """

    label: str
    measures: Mapping[str, Interval]
    pace: str


def section(benchmark: Benchmark) -> Section:
    """Memory in both ways of counting, and wall time."""
    costs = [Cost(entry.label, entry.row.measures, _per_epoch(entry)) for entry in benchmark.entries]
    return _section(costs, "an epoch of training")


def policies(benchmark: PolicyBenchmark) -> Section:
    """The same of reinforcement learning."""
    return _section([_of_policies(entry) for entry in benchmark.entries], "agent steps a second")


def _section(costs: Sequence[Cost], pace: str) -> Section:
    return Section("costs", "Memory and time", [*_memory(costs), _time(costs, pace)], wide=True)


def _memory(costs: Sequence[Cost]) -> list[Figure]:
    """Bytes after the last task: regularization parameters alone, and all that a method keeps."""
    rows = [[cost.label, *(size(cost.measures[name]) for name in _BYTES)] for cost in costs]
    values = Table("Memory after the last task", ["method", *_BYTES.values()], rows)
    return [
        Figure(
            title=title[0].upper() + title[1:],
            drawing=_bars(f"{title}, after the last task", costs, name, rows, column),
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


def _time(costs: Sequence[Cost], pace: str) -> Figure:
    """Wall time of the whole sequence."""
    rows = [[cost.label, duration(cost.measures["seconds"]), cost.pace] for cost in costs]
    return Figure(
        title="Wall time of the whole sequence",
        drawing=_bars("Wall time of the whole sequence", costs, "seconds", rows, 1),
        caption="Training, consolidation and evaluation, mean over the seeds. Runs that shared a machine slowed each "
        "other down.",
        values=Table("Wall time", ["method", "whole sequence", pace], rows),
    )


def _bars(what: str, costs: Sequence[Cost], name: str, rows: list[list[str]], column: int) -> Markup:
    bars = [(style, cost.label, cost.measures[name], rows[style][column]) for style, cost in enumerate(costs)]
    return bar_chart(f"{what}: {'; '.join(f'{row[0]} {row[column]}' for row in rows)}.", bars)


def _per_epoch(entry: Entry) -> str:
    tasks = [result.history.tasks for result in entry.results]
    return duration(mean_interval([sum(t.seconds for t in run) / max(sum(t.epochs for t in run), 1) for run in tasks]))


def _of_policies(entry: Group[PolicyResult]) -> Cost:
    """Steps a second are those of training: rollouts and updates, evaluations aside."""
    runs = [result.history.tasks for result in entry.results]
    measures = {
        "regularization_bytes": mean_interval([float(run[-1].regularization_bytes) for run in runs]),
        "memory_bytes": mean_interval([float(run[-1].memory_bytes) for run in runs]),
        "seconds": mean_interval([sum(task.seconds for task in run) for run in runs]),
    }
    pace = mean_interval([sum(t.steps for t in run) / max(sum(t.training_seconds for t in run), 1e-9) for run in runs])
    return Cost(entry.label, measures, with_interval(pace, 0))
