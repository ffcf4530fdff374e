"""How far each task fell from its best, and when it was learned."""

from __future__ import annotations

from torch import Tensor

from agscl.experiments import Result
from agscl.experiments.words import hundredfold
from agscl.metrics.interval import mean_interval
from agscl.report.blocks import Section
from agscl.report.chapters import Benchmark, Entry
from agscl.report.charts.lines import Line, over_tasks


def section(benchmark: Benchmark[Result]) -> Section | None:
    """Forgetting of every task but the last; none if there is only one task."""
    if len(benchmark.tasks) == 1:
        return None
    figure = over_tasks(
        "Forgetting (percentage points) of each task by the end of the sequence",
        [_line(entry) for entry in benchmark.entries],
        "Best accuracy on the task before the last task was learned, less the accuracy at the end; lower is better. "
        "The last task has had no time to be forgotten. Bands are 95 % intervals.",
        x_label="task",
    )
    return Section("forgetting", "Forgetting", [figure])


def _line(entry: Entry[Result]) -> Line:
    by_task = zip(*(lost(result.accuracy).tolist() for result in entry.results), strict=True)
    return Line(entry.look, [(task, hundredfold(mean_interval(values))) for task, values in enumerate(by_task, 1)])


def lost(accuracy: Tensor) -> Tensor:
    """Best accuracy before the last task, less the accuracy at the end, for each task but the last.

    Their mean is `agscl.metrics.forgetting`.
    """
    best = accuracy[:-1].nan_to_num(nan=-1.0).amax(dim=0)
    return (best - accuracy[-1])[:-1]
