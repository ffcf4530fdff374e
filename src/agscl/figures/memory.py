"""Figure 6(a): bytes that each method keeps from task to task: its regularization parameters alone, and everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agscl.experiments.groups import Group
from agscl.experiments.records import SupervisedRun
from agscl.experiments.supervised.result import Result

from .captions import one_each, options_in_words
from .style import look_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import DataFrame

UNITS = ("B", "KB", "MB", "GB", "TB")


def data(runs: Sequence[SupervisedRun]) -> DataFrame:
    """One row per method: bytes kept after the last task, the most over its seeds.

    Raises:
        ValueError: If runs of a preset differ in more than method and seed.
    """
    import polars

    found = one_each(run.result for run in runs)
    return polars.DataFrame([_row(preset, group) for preset, groups in found.items() for group in groups])


def draw(table: DataFrame, axes: Axes) -> None:
    """Draw one benchmark: a line of dots for each method on a logarithmic scale; nothing kept is written out."""
    from matplotlib.ticker import FuncFormatter

    axes.set_xscale("log")
    axes.plot([], [], "o", color="#555555", label="regularization parameters alone")
    axes.plot([], [], "o", color="#555555", markerfacecolor="white", label="everything that is kept")
    ordered = table.sort("regularization_bytes", "memory_bytes", descending=True)
    for place, row in enumerate(ordered.iter_rows(named=True)):
        _draw_method(row, place, axes)
    axes.set_yticks(range(len(ordered)), [look_of(label).title for label in ordered["method"]])
    axes.set_ylim(len(ordered) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: in_words(value)))
    axes.set_xlabel("kept between tasks")


def in_words(count: float) -> str:
    """Bytes with a unit: 12 KB."""
    power = next((p for p in range(len(UNITS)) if count < 1000 ** (p + 1)), len(UNITS) - 1)
    return f"{count / 1000**power:.3g} {UNITS[power]}"


def _draw_method(row: dict[str, Any], place: int, axes: Axes) -> None:
    color = look_of(row["method"]).color
    alone, everything = row["regularization_bytes"], row["memory_bytes"]
    if everything == 0:
        axes.text(0.01, place, "nothing", transform=axes.get_yaxis_transform(), va="center", color="#666666")
        return
    if alone:
        axes.plot([alone, everything], [place, place], color=color, linewidth=1.2, alpha=0.5)
        axes.plot(alone, place, "o", color=color)
    axes.plot(everything, place, "o", color=color, markerfacecolor="white")


def _row(preset: str, group: Group[Result]) -> dict[str, object]:
    last = [result.history.tasks[-1] for result in group.results]
    return {
        "panel": preset,
        "method": group.label,
        "options": options_in_words(group),
        "seeds": " ".join(map(str, group.seeds)),
        "regularization_bytes": max(task.regularization_bytes for task in last),
        "memory_bytes": max(task.memory_bytes for task in last),
    }
