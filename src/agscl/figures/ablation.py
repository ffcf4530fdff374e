"""The supplementary's ablations: how one hyper-parameter of AGS-CL changes accuracy, forgetting and free nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from agscl.experiments.groups import Group
from agscl.experiments.supervised.comparison import aggregate
from agscl.experiments.supervised.result import Result
from agscl.experiments.words import value_of_option
from agscl.metrics import MEASURES, mean_interval

from .palette import OTHERS
from .selection import columns, groups_by_preset, require_alike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import DataFrame

SHOWN = ("average_accuracy", "forgetting", "sparsity")
"""Measures with a panel each."""


def data_of(option: str) -> Callable[[Sequence[Result]], DataFrame]:
    """The table of one hyper-parameter's ablation: one row per preset, measure and value."""
    return partial(_data, option)


def _data(option: str, results: Sequence[Result]) -> DataFrame:
    import polars

    alike = [list(results)]
    if option == "width":  # a setting: networks of different widths cannot be in one group
        widths = dict.fromkeys(result.experiment.width for result in results)
        alike = [[result for result in results if result.experiment.width == width] for width in widths]
    entries_of: dict[str, list[Group[Result]]] = {}
    for some in alike:
        for preset, entries in groups_by_preset(some).items():
            entries_of.setdefault(preset, []).extend(entries)
    rows = [row for preset, entries in entries_of.items() for row in _rows(preset, option, entries)]
    return polars.DataFrame(rows, infer_schema_length=None).sort("place", maintain_order=True)


def draw(table: DataFrame, axes: Axes) -> None:
    """Draw one measure: a line a preset, with intervals."""
    values = table.sort("order")["value"].unique(maintain_order=True).to_list()
    for number, ((preset,), rows) in enumerate(table.group_by("preset", maintain_order=True)):
        look = OTHERS[number % len(OTHERS)]
        axes.errorbar(
            [values.index(value) + 0.06 * number for value in rows["value"]], rows["mean"], yerr=rows["half_width"],
            color=look.color, marker=look.marker, linestyle=look.dashes, elinewidth=0.9, capsize=2.5, label=str(preset),
        )  # fmt: skip
    axes.set_xticks(range(len(values)), values)
    axes.set_xlabel(table["option"][0])
    axes.set_ylabel("%")
    axes.margins(x=0.12, y=0.12)


def _rows(preset: str, option: str, entries: Sequence[Group[Result]]) -> list[dict[str, object]]:
    require_alike(preset, entries, varied=(option,))
    value_of = [group.results[0].experiment.width if option == "width" else group.options[option] for group in entries]
    ordered = sorted(zip(value_of, entries, strict=True), key=lambda pair: _order(pair[0]))
    return [
        {
            "panel": MEASURES[measure].title,
            "place": SHOWN.index(measure),
            "preset": preset,
            "option": option,
            "order": order,
            "value": value_of_option(value),
            **columns(group),
            **mean_interval([100 * share for share in _shares(group.results, measure)])._asdict(),
        }
        for order, (value, group) in enumerate(ordered)
        for measure in SHOWN
    ]


def _order(value: object) -> tuple[float, str]:
    return (float(value), "") if isinstance(value, int | float) else (0.0, str(value))


def _shares(results: Sequence[Result], measure: str) -> Sequence[float]:
    """The measure of each run at the end."""
    if measure == "sparsity":
        return [result.history.tasks[-1].sparsity or 0.0 for result in results]
    (row,) = aggregate(results)
    return row.values[measure]
