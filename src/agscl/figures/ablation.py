"""The supplementary's ablations: how one hyper-parameter of AGS-CL changes accuracy, forgetting and free nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agscl.experiments.groups import Group
from agscl.experiments.supervised.comparison import aggregate
from agscl.experiments.supervised.result import Result
from agscl.experiments.words import value_of_option
from agscl.metrics import MEASURES, mean_interval

from .palette import OTHERS
from .selection import columns, groups_by_preset, require_alike, table_of
from .style import ends_of_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import DataFrame

SHOWN = ("average_accuracy", "forgetting", "sparsity")
"""Measures with a panel each."""


def data(option: str, results: Sequence[Result]) -> DataFrame:
    """One row per measure, preset and value of a hyper-parameter (or of the width): mean over the seeds, in percent.

    Raises:
        ValueError: If runs of a preset differ in more than seed and that hyper-parameter.
    """
    alike = [list(results)]
    if option == "width":  # a setting: networks of different widths cannot be in one group
        widths = dict.fromkeys(result.experiment.width for result in results)
        alike = [[result for result in results if result.experiment.width == width] for width in widths]
    entries_of: dict[str, list[Group[Result]]] = {}
    for some in alike:
        for preset, entries in groups_by_preset(some).items():
            entries_of.setdefault(preset, []).extend(entries)
    rows: list[dict[str, object]] = []
    for preset, entries in entries_of.items():
        require_alike(preset, entries, varied=(option,))
        for order, group in enumerate(sorted(entries, key=lambda group: _place(_value(group, option)))):
            (row,) = aggregate(group.results)
            free = [result.history.tasks[-1].sparsity or 0.0 for result in group.results]
            for place, measure in enumerate(SHOWN):
                shares = free if measure == "sparsity" else row.values[measure]
                rows.append(
                    {"panel": MEASURES[measure].title, "place": place, "preset": preset, "option": option}
                    | {"order": order, "value": value_of_option(_value(group, option)), **columns(group)}
                    | mean_interval([100 * share for share in shares])._asdict()
                )
    return table_of(rows).sort("place", maintain_order=True)


def _value(group: Group[Result], option: str) -> object:
    return group.results[0].experiment.width if option == "width" else group.options[option]


def _place(value: object) -> tuple[float, str]:
    """Numbers by their size, words by the alphabet."""
    return (float(value), "") if isinstance(value, int | float) else (0.0, str(value))


def draw(table: DataFrame, axes: Axes) -> None:
    """Draw one measure, with intervals: a line a preset through numbers, points alone where values are words."""
    values = table.sort("order")["value"].unique(maintain_order=True).to_list()
    for number, ((preset,), rows) in enumerate(table.group_by("preset", maintain_order=True)):
        look = OTHERS[number % len(OTHERS)]
        axes.errorbar(
            [values.index(value) + 0.06 * number for value in rows["value"]], rows["mean"], yerr=rows["half_width"],
            color=look.color, marker=look.marker, linestyle=look.dashes if all(map(_is_number, values)) else "none",
            elinewidth=0.9, label=str(preset),
        )  # fmt: skip
    axes.set_xticks(range(len(values)), values)
    axes.set_xlabel(table["option"][0])
    axes.set_ylabel("%")
    axes.margins(x=0.12)
    means, half = table["mean"], table["half_width"].fill_nan(0.0)
    lowest = -101 if table["panel"][0] == MEASURES["forgetting"].title else -1
    axes.set_ylim(ends_of_axis(means, [*(means - half), *(means + half)], least=2.0, low=lowest, high=101))


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
