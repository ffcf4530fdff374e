"""Where the capacity went: the node map of each method that rates nodes, and how sparsity falls."""

from __future__ import annotations

from collections.abc import Iterator

from agscl.experiments import Result
from agscl.experiments.records import SupervisedRun
from agscl.experiments.words import spans
from agscl.figures.capacity import SHARES, share_curve
from agscl.metrics import MEASURES
from agscl.report.blocks import Note, Section
from agscl.report.chapters import Benchmark, Entry
from agscl.report.charts.lines import Line, over_tasks
from agscl.report.charts.nodemap import NodeMap, layer_states, node_map

_HOW_TO_READ = (
    "Each cell is a node, in the colour of the task that first made it important; since then it is frozen. Pale cells "
    "are free, cells with a dot are dead: nothing comes into them. The bars beside a layer show it fill up, task after "
    "task from left to right."
)
_MEANING = {"sparsity": "Nodes that no task needs", "used_capacity": "Nodes that did not move"}


def section(benchmark: Benchmark[Result]) -> Section | None:
    """Node maps, and sparsity and used capacity over the tasks; none if no method rates nodes."""
    maps = [part for entry in benchmark.entries for part in _maps(entry)]
    figures = []
    for measure in SHARES:
        curves = [(entry.look, share_curve(entry.results, measure)) for entry in benchmark.entries]
        lines = [Line(look, list(curve.items())) for look, curve in curves if curve]
        if lines:
            title = f"{_MEANING[measure]} ({MEASURES[measure].title}, %)"
            figures.append(over_tasks(title, lines, "Mean over the seeds; bands are 95 % intervals."))
    parts = [*([Note(_HOW_TO_READ)] if maps else []), *maps, *figures]
    return Section("nodes", "Nodes", parts, wide=True) if parts else None


def _maps(entry: Entry[Result]) -> Iterator[NodeMap | Note]:
    """The map of the first seed that has one, and what is left out."""
    runs = [run for run in entry.runs if isinstance(run, SupervisedRun)]
    mapped = {run.result.experiment.seed: run.nodes for run in runs if run.nodes is not None and len(run.nodes)}
    for seed, nodes in list(mapped.items())[:1]:
        yield node_map(f"{entry.title}, seed {seed}", layer_states(nodes), entry.results[0].names)
    if others := list(mapped)[1:]:
        yield Note(f"The map is of one run. Other seeds ({spans(others)}) have maps when they are reported alone.")
