"""Accuracy over time: a curve for each method, how far each task fell from its best, and matrices as heat maps."""

from __future__ import annotations

import torch

from agscl.experiments import Result
from agscl.experiments.words import hundredfold, seeds
from agscl.figures.curves import average_accuracy_curve
from agscl.metrics.interval import mean_interval
from agscl.report.blocks import Figure, Section, Table
from agscl.report.chapters import Benchmark
from agscl.report.charts.lines import Line, over_tasks
from agscl.report.charts.matrices import matrix


def curves(benchmark: Benchmark[Result]) -> Section:
    """Mean accuracy over the tasks so far, after each task."""
    figure = over_tasks(
        "Average accuracy (%) over the tasks so far",
        [Line(entry.look, list(enumerate(average_accuracy_curve(entry.results), 1))) for entry in benchmark.entries],
        benchmark.over_seeds("bands are 95 % intervals, cut off where they are much wider than the lines are apart"),
        highest=100,
    )
    return Section("accuracy", "Accuracy over the sequence", [figure])


def forgetting(benchmark: Benchmark[Result]) -> Section | None:
    """How far every task but the last fell from its best (their mean is `agscl.metrics.forgetting`).

    None if there is only one task.
    """
    if len(benchmark.tasks) == 1:
        return None
    lines = []
    for entry in benchmark.entries:
        matrices = torch.stack([result.accuracy for result in entry.results])
        best = matrices[:, :-1].nan_to_num(nan=-1.0).amax(dim=1)
        by_task = (best - matrices[:, -1])[:, :-1].T.tolist()
        points = [(task, hundredfold(mean_interval(lost))) for task, lost in enumerate(by_task, 1)]
        lines.append(Line(entry.look, points))
    figure = over_tasks(
        "Forgetting (percentage points) of each task by the end of the sequence",
        lines,
        "Best accuracy on the task before the last task was learned, less the accuracy at the end; lower is better. "
        f"The last task has had no time to be forgotten. {benchmark.over_seeds('bands are 95 % intervals')}",
        x_label="task",
    )
    return Section("forgetting", "Forgetting", [figure])


def matrices(benchmark: Benchmark[Result]) -> Section:
    """A heat map for each method, all in the same colours: its mean matrix in percent."""
    means = [100 * torch.stack([r.accuracy for r in entry.results]).mean(dim=0) for entry in benchmark.entries]
    lowest = min(mean[~mean.isnan()].min().item() for mean in means)
    darkest = min(10 * (lowest // 10), 90.0)
    what = "Accuracy (%) on each task (column) after learning each task (row)"
    figures = []
    for entry, mean in zip(benchmark.entries, means, strict=True):
        rows = [row[: number + 1].tolist() for number, row in enumerate(mean)]
        of_seeds, single = seeds(entry.group.seeds), len(entry.results) == 1
        names = entry.results[0].names if single else [str(number) for number in range(1, len(rows) + 1)]
        learned, left = mean.diagonal().mean().item(), mean[-1].mean().item()
        told = f"Right after learning {learned:.1f} on average, at the end {left:.1f}."
        drawing = matrix(f"{what}: {entry.title}. {told}", rows, darkest)
        caption = (
            f"{of_seeds.capitalize() if single else f'Mean over {of_seeds}'}. "
            f"Colours run from {darkest:.0f} % (dark) to 100 % (light)."
        )
        cells = [
            [name, *(f"{value:.1f}" for value in row), *[""] * (len(rows) - len(row))]
            for name, row in zip(names, rows, strict=True)
        ]
        figures.append(Figure(entry.title, drawing, caption, Table(what, ["after", *names], cells)))
    return Section("matrices", "Accuracy matrices", figures, wide=True)
