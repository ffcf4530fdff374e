"""What is learned against what is kept: plasticity and stability."""

from __future__ import annotations

from agscl.experiments import Result
from agscl.experiments.supervised.comparison import aggregate
from agscl.experiments.words import hundredfold
from agscl.report.blocks import Figure, Note, Section, Table, shown
from agscl.report.chapters import Benchmark
from agscl.report.charts.marks import key_of
from agscl.report.charts.points import Point, scatter


def section(benchmark: Benchmark[Result]) -> Section:
    """A point for each method that has a reference to be compared with; a plain statement if none has."""
    points = []
    for entry, row in zip(benchmark.entries, aggregate(benchmark.results), strict=True):
        if "plasticity" in row.values:
            x, y = (hundredfold(row.measures[name]) for name in ("plasticity", "stability"))
            runs = [(100 * p, 100 * s) for p, s in zip(row.values["plasticity"], row.values["stability"], strict=True)]
            points.append(Point(entry.look, x, y, runs if len(runs) > 1 else []))
    if not points:
        lacking = Note("Plasticity needs a fine-tuning run of the same seed; there is none among these runs.")
        return Section("tradeoff", "Plasticity and stability", [lacking])
    title = "Plasticity and stability (%)"
    cells = [[point.look.title, shown(point.x), shown(point.y)] for point in points]
    told = "; ".join(f"{name} {plasticity} and {stability}" for name, plasticity, stability in cells)
    figure = Figure(
        title=title,
        drawing=scatter(f"{title}: {told}.", points, ("plasticity →", "stability →")),
        caption="Up is less forgetting, right is better learning than fine-tuning's. "
        + benchmark.over_seeds("dots are single seeds, whiskers 95 % intervals, cut off at the axes"),
        values=Table(title, ["method", "plasticity", "stability"], cells),
        key=key_of(point.look for point in points),
    )
    return Section("tradeoff", "Plasticity and stability", [figure])
