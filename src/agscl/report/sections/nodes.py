"""Where the capacity went: the node map of each method that rates nodes, and how sparsity falls."""

from __future__ import annotations

from collections.abc import Iterator

from agscl.metrics.interval import mean_interval
from agscl.report.benchmark import Benchmark, Entry
from agscl.report.blocks import Figure, Note, Table, hundredfold, with_interval
from agscl.report.charts.charts import Line, described, line_chart
from agscl.report.charts.nodemap import NodeMap, layer_states, node_map

from .legend import key
from .section import Section

_HOW_TO_READ = (
    "Each cell is a node, in the colour of the task that first made it important; since then it is frozen. Pale cells "
    "are free, cells with a dot are dead: nothing comes into them. The bars beside a layer show it fill up, task after "
    "task from left to right."
)


def section(benchmark: Benchmark) -> Section | None:
    """Node maps and capacity; none if no method rates nodes."""
    maps = [part for entry in benchmark.entries for part in _maps(entry)]
    parts = [*([Note(_HOW_TO_READ)] if maps else []), *maps, *_capacity(benchmark)]
    return Section("nodes", "Nodes", parts, wide=True) if parts else None


def _maps(entry: Entry) -> list[NodeMap | Note]:
    """The map of the first seed that has one, and what is left out."""
    mapped = [run for run in entry.runs if run.nodes is not None and len(run.nodes)]
    if not mapped:
        return []
    run = mapped[0]
    assert run.nodes is not None
    seed = run.result.experiment.seed
    names = [task.name for task in run.result.history.tasks]
    found: list[NodeMap | Note] = [node_map(f"{entry.label}, seed {seed}", layer_states(run.nodes), names)]
    if len(mapped) > 1:
        others = ", ".join(str(other.result.experiment.seed) for other in mapped[1:])
        found.append(Note(f"The map is of one run. Other seeds ({others}) have maps when they are reported alone."))
    return found


def _capacity(benchmark: Benchmark) -> Iterator[Figure]:
    """Sparsity and used capacity over the tasks."""
    for name, what in _SHARES.items():
        drawn = [_line(style, entry, name) for style, entry in enumerate(benchmark.entries)]
        lines = [line for line in drawn if line.points]
        if lines:
            yield _figure(benchmark, lines, what)


_SHARES = {
    "sparsity": "Nodes that no task needs (sparsity, %)",
    "used_capacity": "Nodes that did not move (used capacity, %)",
}


def _figure(benchmark: Benchmark, lines: list[Line], title: str) -> Figure:
    numbers = [number for number, _ in lines[0].points]
    rows = [
        [str(number), *(with_interval(line.points[step][1]) for line in lines)] for step, number in enumerate(numbers)
    ]
    return Figure(
        title=title,
        drawing=line_chart(f"{title}. {described(lines)}.", lines),
        caption="Mean over the seeds; bands are 95 % intervals.",
        values=Table(title, ["tasks learned", *(line.label for line in lines)], rows),
        key=key(benchmark, {line.style for line in lines}),
    )


def _line(style: int, entry: Entry, name: str) -> Line:
    """The share after each task for which every run has it."""
    runs = [[getattr(task, name) for task in result.history.tasks] for result in entry.results]
    steps = enumerate(zip(*runs, strict=True), 1)
    known = [(number, values) for number, values in steps if None not in values]
    return Line(style, entry.label, [(number, hundredfold(mean_interval(values))) for number, values in known])
