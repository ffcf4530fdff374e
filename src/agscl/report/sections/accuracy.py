"""Accuracy over time: one curve for each method, and its whole matrix as a heat map."""

from __future__ import annotations

import torch
from torch import Tensor

from agscl.experiments import Result
from agscl.experiments.words import seeds
from agscl.figures.curves import average_accuracy_curve
from agscl.report.blocks import Figure, Section, Table
from agscl.report.chapters import Benchmark, Entry
from agscl.report.charts.lines import Line, over_tasks
from agscl.report.charts.matrices import matrix


def curves(benchmark: Benchmark[Result]) -> Section:
    """Mean accuracy over the tasks so far, after each task."""
    figure = over_tasks(
        "Average accuracy (%) over the tasks so far",
        [Line(entry.look, list(enumerate(average_accuracy_curve(entry.results), 1))) for entry in benchmark.entries],
        "Mean over the seeds; bands are 95 % intervals where there is more than one seed, cut off where they are much "
        "wider than the lines are apart.",
        highest=100,
    )
    return Section("accuracy", "Accuracy over the sequence", [figure])


def matrices(benchmark: Benchmark[Result]) -> Section:
    """A heat map for each method, all in the same colours."""
    means = [100 * torch.stack([r.accuracy for r in entry.results]).mean(dim=0) for entry in benchmark.entries]
    lowest = min(mean[~mean.isnan()].min().item() for mean in means)
    darkest = min(10 * (lowest // 10), 90.0)
    figures = [_matrix(entry, mean, darkest) for entry, mean in zip(benchmark.entries, means, strict=True)]
    return Section("matrices", "Accuracy matrices", figures, wide=True)


def _matrix(entry: Entry[Result], mean: Tensor, darkest: float) -> Figure:
    """The mean matrix in percent."""
    rows = [row[: number + 1].tolist() for number, row in enumerate(mean)]
    what = "Accuracy (%) on each task (column) after learning each task (row)"
    single = len(entry.results) == 1
    names = entry.results[0].names if single else [str(number) for number in range(1, len(rows) + 1)]
    learned, left = mean.diagonal().mean().item(), mean[-1].mean().item()
    ends = f"Right after learning {learned:.1f} on average, at the end {left:.1f}."
    of_seeds = seeds(entry.group.seeds)
    seeds_shown = f"{of_seeds.capitalize()}." if single else f"Mean over {of_seeds}."
    cells = [
        [name, *(f"{value:.1f}" for value in row), *[""] * (len(rows) - len(row))]
        for name, row in zip(names, rows, strict=True)
    ]
    return Figure(
        title=entry.title,
        drawing=matrix(f"{what}: {entry.title}. {ends}", rows, darkest),
        caption=f"{seeds_shown} Colours run from {darkest:.0f} % (dark) to 100 % (light).",
        values=Table(what, ["after", *names], cells),
    )
