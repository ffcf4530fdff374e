"""Where the capacity went: the node map of each method that rates nodes, and how sparsity falls."""

from __future__ import annotations

from agscl.experiments import Result
from agscl.experiments.fullness import fullness_of
from agscl.experiments.records import SupervisedRun
from agscl.experiments.words import spans
from agscl.figures.capacity import SHARES, share_curve
from agscl.metrics import MEASURES
from agscl.report.blocks import Note, Part, Section
from agscl.report.chapters import Benchmark
from agscl.report.charts.lines import Line, over_tasks
from agscl.report.charts.nodemap import NodeMap, layer_states, node_map

_HOW_TO_READ = (
    "Each cell is a node, in the colour of the task that first made it important; since then it is frozen. Pale cells "
    "are free, cells with a dot are dead: nothing comes into them. The bars beside a layer show it fill up, task after "
    "task from left to right."
)
_GATED = (
    "Where tasks have nodes of their own, point at a cell to see all tasks that use it; the table says how many each "
    "task uses, and how many of these are new. Only what one task uses at both ends is frozen."
)
_MEANING = {"sparsity": "Nodes that no task needs", "used_capacity": "Nodes that did not move"}


def section(benchmark: Benchmark[Result]) -> Section | None:
    """A node map of each method's first seed, and sparsity and used capacity; none if no method rates nodes."""
    parts: list[Part] = []
    for entry in benchmark.entries:
        runs = [run for run in entry.runs if isinstance(run, SupervisedRun)]
        mapped = {run.result.experiment.seed: run.nodes for run in runs if run.nodes is not None and len(run.nodes)}
        for seed, nodes in list(mapped.items())[:1]:
            parts.append(node_map(f"{entry.title}, seed {seed}", layer_states(nodes), entry.results[0].names))
        if others := list(mapped)[1:]:
            left = f"The map is of one run. Other seeds ({spans(others)}) have maps when they are reported alone."
            parts.append(Note(left))
    gated = any(layer.used for part in parts if isinstance(part, NodeMap) for layer in part.layers)
    found = [Note(f"{line}.") for line in fullness_of(benchmark.results)]
    notes = [Note(_HOW_TO_READ), *([Note(_GATED)] if gated else [])] if parts else []
    parts = [*notes, *found, *parts]
    for measure in SHARES:
        curves = [(entry.look, share_curve(entry.results, measure)) for entry in benchmark.entries]
        lines = [Line(look, list(curve.items())) for look, curve in curves if curve]
        if lines:
            title = f"{_MEANING[measure]} ({MEASURES[measure].title}, %)"
            parts.append(over_tasks(title, lines, benchmark.over_seeds("bands are 95 % intervals")))
    return Section("nodes", "Nodes", parts, wide=True) if parts else None
