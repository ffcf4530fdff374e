"""Figure 6(a): bytes that each method keeps from task to task: its regularization parameters alone, and everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agscl.experiments.supervised.result import Result
from agscl.experiments.words import size

from .palette import looks
from .selection import columns, one_each, table_of
from .style import SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import DataFrame

BYTES = ("regularization_bytes", "memory_bytes")
"""The two ways of counting."""


def data(results: Sequence[Result]) -> DataFrame:
    """One row per method: bytes kept after the last task, the most over its seeds.

    Raises:
        ValueError: If runs of a preset differ in more than method and seed.
    """
    return table_of(
        {"panel": preset, "method": group.label, **columns(group)}
        | {name: max(getattr(result.history.tasks[-1], name) for result in group.results) for name in BYTES}
        for preset, entries in one_each(results).items()
        for group in entries
    )


def draw(table: DataFrame, axes: Axes) -> None:
    """Draw one benchmark: a line of dots for each method on a logarithmic scale; nothing kept is written out."""
    from matplotlib.ticker import FuncFormatter

    axes.set_xscale("log")
    axes.plot([], [], "o", color=SOFT, label="regularization parameters alone")
    axes.plot([], [], "o", color=SOFT, markerfacecolor="white", label="everything that is kept")
    look_of, ordered = looks(table["method"]), table.sort(*BYTES, descending=True)
    for row, (method, alone, everything) in enumerate(ordered.select("method", *BYTES).iter_rows()):
        color = look_of[method].color
        if everything == 0:
            axes.text(0.01, row, "nothing", transform=axes.get_yaxis_transform(), va="center", color=SOFT)
            continue
        if alone:
            axes.plot([alone, everything], [row, row], color=color, linewidth=1.2, alpha=0.5)
            axes.plot(alone, row, "o", color=color)
        axes.plot(everything, row, "o", color=color, markerfacecolor="white")
    axes.set_yticks(range(len(ordered)), [look_of[method].title for method in ordered["method"]])
    axes.set_ylim(len(ordered) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size(value, 0)))
    axes.set_xlabel("kept between tasks")
