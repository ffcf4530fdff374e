"""The picture of runs of one preset: accuracy matrices, accuracy over time, sparsity and used capacity."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agscl.experiments import Result
from agscl.experiments.supervised.comparison import compare
from agscl.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def picture(results: Sequence[Result]) -> bytes:
    """A PNG of one or more runs of the same preset.

    Raises:
        ValueError: If matplotlib is not installed.
    """
    file = io.BytesIO()
    _figure(results).savefig(file, format="png", dpi=150)
    return file.getvalue()


def _figure(results: Sequence[Result]) -> Figure:
    columns = max(2, len(results))
    figure: Figure = require("matplotlib.figure", extra="report").Figure(
        figsize=(5 * columns, 8.5), layout="constrained"
    )
    experiment = results[0].experiment
    figure.suptitle(f"{experiment.preset}, seed {experiment.seed} (one run of each method)")
    axes = figure.subplots(2, columns, squeeze=False)
    for axis, result in zip(axes[0], results, strict=False):
        draw_matrix(axis, result)
        axis.set_xlabel(_measures(results, result.method), fontsize=9)
    draw_average(axes[1][0], results)
    draw_capacity(axes[1][1], results)
    for axis in [*axes[0][len(results) :], *axes[1][2:]]:
        axis.remove()
    return figure


def draw_matrix(axis: Axes, result: Result) -> None:
    """Accuracy in percent on each task (columns) after learning each task (rows)."""
    percent = 100 * result.accuracy
    axis.imshow(percent.numpy(), cmap="viridis", vmin=0, vmax=100)
    for row, column in (~percent.isnan()).nonzero().tolist():
        value = float(percent[row, column])
        colour = "black" if value > 60 else "white"  # noqa: PLR2004
        axis.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=9)
    ticks = range(len(percent))
    axis.set_xticks(ticks, [str(task + 1) for task in ticks])
    axis.set_yticks(ticks, [str(task + 1) for task in ticks])
    axis.set_ylabel("after learning task")
    axis.set_title(f"{result.method}: accuracy (%) on each task")


def draw_average(axis: Axes, results: Sequence[Result]) -> None:
    """Mean accuracy over the tasks so far, after each task."""
    for result in results:
        steps = range(1, len(result.accuracy) + 1)
        axis.plot(steps, (100 * result.accuracy.nanmean(dim=1)).tolist(), marker="o", label=result.method)
    axis.set_title("average accuracy (%) over the tasks so far")
    _label(axis, len(results[0].accuracy))
    axis.set_ylim(0, 102)


def draw_capacity(axis: Axes, results: Sequence[Result]) -> None:
    """Sparsity and used capacity after each task, for methods that rate nodes."""
    for result in [result for result in results if result.history.tasks[0].sparsity is not None]:
        tasks = result.history.tasks
        free = [(step, 100 * task.sparsity) for step, task in enumerate(tasks, 1) if task.sparsity is not None]
        used = [
            (step, 100 * task.used_capacity) for step, task in enumerate(tasks, 1) if task.used_capacity is not None
        ]
        axis.plot(*zip(*free, strict=True), marker="o", label=f"{result.method}: sparsity")
        if used:
            axis.plot(*zip(*used, strict=True), marker="s", label=f"{result.method}: used capacity")
    axis.set_title("nodes free, nodes frozen (%)")
    _label(axis, len(results[0].accuracy))
    axis.set_ylim(0, 102)


def _label(axis: Axes, tasks: int) -> None:
    axis.set_xlabel("after learning task")
    axis.set_xticks(range(1, tasks + 1))
    axis.grid(alpha=0.3)
    if axis.lines:
        axis.legend(fontsize=9)


def _measures(results: Sequence[Result], method: str) -> str:
    values = compare(results)[method]
    return "\n".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in values.items())
