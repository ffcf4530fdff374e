"""The picture of runs of one preset: accuracy matrices, accuracy over time, sparsity and used capacity."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agscl.experiments.fullness import fullness_of
from agscl.experiments.supervised.comparison import compare
from agscl.experiments.supervised.result import Result
from agscl.extras import require
from agscl.metrics import MEASURES

from . import curves
from .capacity import SHARES, share_curve
from .palette import looks, title_of
from .style import task_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def picture(results: Sequence[Result]) -> bytes:
    """A PNG of one or more runs of the same preset.

    Raises:
        ValueError: If matplotlib is not installed.
    """
    columns = max(2, len(results))
    figure: Figure = require("matplotlib.figure", extra="report").Figure(
        figsize=(5 * columns, 8.5), layout="constrained"
    )
    experiment = results[0].experiment
    figure.suptitle(f"{experiment.preset}, seed {experiment.seed} (one run of each method)")
    axes, measures = figure.subplots(2, columns, squeeze=False), compare(results)
    for axis, result in zip(axes[0], results, strict=False):
        draw_matrix(axis, result)
        values = [f"{MEASURES[name].title} {value:.3f}" for name, value in measures[result.method].items()]
        axis.set_xlabel("\n".join(values), fontsize=9)
    curves.draw(curves.data(results), axes[1][0])
    axes[1][0].set_title("average accuracy (%) over the tasks so far")
    axes[1][0].set_ylim(0, 102)
    draw_capacity(axes[1][1], results)
    for axis in axes[1][:2]:
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=9)
    for axis in [*axes[0][len(results) :], *axes[1][2:]]:
        axis.remove()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150)
    return file.getvalue()


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
    axis.set_title(f"{title_of(result.method)}: accuracy (%) on each task")


def draw_capacity(axis: Axes, results: Sequence[Result]) -> None:
    """Sparsity (solid) and used capacity (dashed) after each task, for methods that rate nodes."""
    look_of = looks(result.method for result in results)
    for result in (result for result in results if result.history.tasks[0].sparsity is not None):
        for name, dashes in zip(SHARES, ("-", "--"), strict=True):
            curve, look = share_curve([result], name), look_of[result.method]
            if curve:
                values = [interval.mean for interval in curve.values()]
                label = f"{look.title}: {MEASURES[name].title}"
                axis.plot(list(curve), values, dashes, marker=look.marker, color=look.color, label=label)
    axis.set_title("nodes free, nodes frozen (%)")
    axis.set_ylim(0, 102)
    task_axis(axis, len(results[0].names))
    axis.set_xlabel("\n".join(["tasks learned", *fullness_of(results)]), fontsize=9)
