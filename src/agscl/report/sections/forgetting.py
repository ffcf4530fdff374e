"""How far each task fell from its best, and when it was learned."""

from __future__ import annotations

from torch import Tensor

from agscl.metrics.interval import Interval, mean_interval
from agscl.report.benchmark import Benchmark, Entry
from agscl.report.blocks import Figure, Table, hundredfold, with_interval
from agscl.report.charts.charts import Line, described, line_chart

from .legend import key
from .section import Section


def section(benchmark: Benchmark) -> Section | None:
    """Forgetting of every task but the last; none if there is only one task."""
    if benchmark.num_tasks == 1:
        return None
    lines = [_line(style, entry) for style, entry in enumerate(benchmark.entries)]
    title = "Forgetting (percentage points) of each task by the end of the sequence"
    values = Table(
        title,
        ["task", *(line.label for line in lines)],
        [
            [str(task + 1), *(with_interval(line.points[task][1]) for line in lines)]
            for task in range(benchmark.num_tasks - 1)
        ],
    )
    figure = Figure(
        title=title,
        drawing=line_chart(f"{title}. {described(lines)}.", lines, x_label="task"),
        caption="Best accuracy on the task before the last task was learned, less the accuracy at the end; lower is "
        "better. The last task has had no time to be forgotten. Bands are 95 % intervals.",
        values=values,
        key=key(benchmark),
    )
    return Section("forgetting", "Forgetting", [figure])


def _line(style: int, entry: Entry) -> Line:
    tasks = zip(*(lost(result.accuracy).tolist() for result in entry.results), strict=True)
    means: list[Interval] = [hundredfold(mean_interval(values)) for values in tasks]
    return Line(style, entry.label, list(enumerate(means, 1)))


def lost(accuracy: Tensor) -> Tensor:
    """Best accuracy before the last task, less the accuracy at the end, for each task but the last.

    Their mean is `agscl.metrics.forgetting`.
    """
    best = accuracy[:-1].nan_to_num(nan=-1.0).amax(dim=0)
    return (best - accuracy[-1])[:-1]
