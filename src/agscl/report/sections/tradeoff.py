"""What is learned against what is kept: plasticity and stability."""

from __future__ import annotations

from agscl.report.benchmark import Benchmark, Entry
from agscl.report.blocks import Figure, Note, Table, hundredfold, with_interval
from agscl.report.charts.charts import Point, scatter

from .legend import key
from .section import Section


def section(benchmark: Benchmark) -> Section:
    """A point for each method that has a reference to be compared with; a plain statement if none has."""
    shown = [(style, entry) for style, entry in enumerate(benchmark.entries) if "plasticity" in entry.row.measures]
    parts: list[Figure | Note] = []
    if shown:
        parts.append(_figure(benchmark, [_point(style, entry) for style, entry in shown]))
    else:
        parts.append(Note("Plasticity needs a fine-tuning run of the same seed; there is none among these runs."))
    return Section("tradeoff", "Plasticity and stability", parts)


def _figure(benchmark: Benchmark, points: list[Point]) -> Figure:
    title = "Plasticity and stability (%)"
    values = Table(
        title,
        ["method", "plasticity", "stability"],
        [[point.label, with_interval(point.x), with_interval(point.y)] for point in points],
    )
    told = "; ".join(f"{label} {first} and {second}" for label, first, second in values.rows)
    return Figure(
        title=title,
        drawing=scatter(f"{title}: {told}.", points, ("plasticity →", "stability →")),
        caption="Up is less forgetting, right is better learning than fine-tuning's; dots are single seeds, "
        "whiskers 95 % intervals.",
        values=values,
        key=key(benchmark, {point.style for point in points}),
    )


def _point(style: int, entry: Entry) -> Point:
    names = ("plasticity", "stability")
    x, y = (hundredfold(entry.row.measures[name]) for name in names)
    runs = [(100 * p, 100 * s) for p, s in zip(*(entry.row.values[name] for name in names), strict=True)]
    return Point(style, entry.label, x, y, runs if len(runs) > 1 else [])
