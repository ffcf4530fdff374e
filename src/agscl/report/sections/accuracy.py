"""Accuracy over time: one curve for each method, and its whole matrix as a heat map."""

from __future__ import annotations

import torch
from torch import Tensor

from agscl.metrics import average_accuracy_so_far
from agscl.metrics.interval import mean_interval
from agscl.report.benchmark import Benchmark, Entry
from agscl.report.blocks import Figure, Table, hundredfold, with_interval
from agscl.report.charts.charts import Line, described, line_chart, matrix

from .legend import key
from .section import Section


def curves(benchmark: Benchmark) -> Section:
    """Mean accuracy over the tasks so far, after each task."""
    lines = [_curve(style, entry) for style, entry in enumerate(benchmark.entries)]
    title = "Average accuracy (%) over the tasks so far"
    values = Table(
        title,
        ["tasks learned", *(line.label for line in lines)],
        [
            [str(step + 1), *(with_interval(line.points[step][1]) for line in lines)]
            for step in range(benchmark.num_tasks)
        ],
    )
    figure = Figure(
        title=title,
        drawing=line_chart(f"{title}. {described(lines)}.", lines, highest=100),
        caption="Mean over the seeds; bands are 95 % intervals where there is more than one seed, cut off where they "
        "are much wider than the lines are apart.",
        values=values,
        key=key(benchmark),
    )
    return Section("accuracy", "Accuracy over the sequence", [figure])


def matrices(benchmark: Benchmark) -> Section:
    """A heat map for each method, all in the same colours."""
    means = [_mean(entry) for entry in benchmark.entries]
    lowest = min(mean[~mean.isnan()].min().item() for mean in means)
    darkest = min(10 * (lowest // 10), 90.0)
    figures = [_matrix(entry, mean, darkest) for entry, mean in zip(benchmark.entries, means, strict=True)]
    return Section("matrices", "Accuracy matrices", figures, wide=True)


def _curve(style: int, entry: Entry) -> Line:
    steps = zip(*(average_accuracy_so_far(result.accuracy) for result in entry.results), strict=True)
    means = [hundredfold(mean_interval([float(value) for value in values])) for values in steps]
    return Line(style, entry.label, list(enumerate(means, 1)))


def _mean(entry: Entry) -> Tensor:
    """Mean matrix in percent."""
    return 100 * torch.stack([result.accuracy for result in entry.results]).mean(dim=0)


def _matrix(entry: Entry, mean: Tensor, darkest: float) -> Figure:
    rows = [row[: number + 1].tolist() for number, row in enumerate(mean)]
    what = "Accuracy (%) on each task (column) after learning each task (row)"
    names = [task.name for task in entry.results[0].history.tasks]
    titles = names if len(entry.runs) == 1 else [str(number) for number in range(1, len(names) + 1)]
    return Figure(
        title=entry.label,
        drawing=matrix(f"{what}: {entry.label}. {_ends(mean)}", rows, darkest),
        caption=f"{_of(entry)} Colours run from {darkest:.0f} % (dark) to 100 % (light).",
        values=Table(what, ["after", *titles], [_cells(titles[n], row, len(rows)) for n, row in enumerate(rows)]),
    )


def _cells(name: str, row: list[float], tasks: int) -> list[str]:
    return [name, *(f"{value:.1f}" for value in row), *[""] * (tasks - len(row))]


def _of(entry: Entry) -> str:
    return f"{entry.seeds.capitalize()}." if len(entry.runs) == 1 else f"Mean over {entry.seeds}."


def _ends(mean: Tensor) -> str:
    learned, left = mean.diagonal().mean().item(), mean[-1].mean().item()
    return f"Right after learning {learned:.1f} on average, at the end {left:.1f}."
