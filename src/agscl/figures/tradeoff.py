"""Figure 6(c): plasticity against stability as lambda varies: AGS-CL, AGS-CL without its parts, and a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from agscl.experiments.groups import Group
from agscl.experiments.records import SupervisedRun
from agscl.experiments.supervised.aggregate import Row, aggregate
from agscl.experiments.supervised.comparison import REFERENCE
from agscl.experiments.supervised.result import Result

from .captions import options_in_words
from .style import LOOKS, Look, look_of
from .variants import FULL, WITHOUT_BOTH, WITHOUT_CUT, WITHOUT_DRAW, ags_cl, grouped, require_alike, variant_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import DataFrame

STRENGTHS = ("lam", "c")
"""What the strength of a method is called."""

REFERENCES = (REFERENCE, "joint", "single-task")
"""Methods without a strength: they are compared with, not drawn."""

LINES: Mapping[str, Look] = {
    FULL: LOOKS["ags-cl"],
    WITHOUT_CUT: Look(WITHOUT_CUT, "#56b4e9", "s", "--"),
    WITHOUT_DRAW: Look(WITHOUT_DRAW, "#009e73", "^", "--"),
    WITHOUT_BOTH: Look(WITHOUT_BOTH, "#7f7f7f", "D", ":"),
    "mas": LOOKS["mas"],
}


def data(runs: Sequence[SupervisedRun]) -> DataFrame:
    """One row per variant and strength: plasticity and stability over the seeds, with half of their 95 % intervals.

    Raises:
        ValueError: If fine-tuning of a seed is missing (plasticity compares with it), or runs differ in more than
            seed, variant and strength.
    """
    import polars

    found = grouped(run.result for run in runs)
    rows = [row for preset, groups in found.items() for row in _preset_rows(preset, groups)]
    if not rows:
        raise ValueError("this figure needs runs of a method with a strength, such as ags-cl with --method.lam")
    return polars.DataFrame(rows, infer_schema_length=None)


def draw(table: DataFrame, axes: Axes) -> None:
    """Draw one benchmark: a line a variant through its strengths; a star where its average accuracy is best."""
    found = table["variant"].unique(maintain_order=True).to_list()
    for variant in [*(name for name in LINES if name in found), *(name for name in found if name not in LINES)]:
        rows = table.filter(table["variant"] == variant).sort("strength")
        _draw_line(rows, LINES.get(variant, look_of(variant)), axes)
    axes.set_xlabel("plasticity (1: learns as well as fine-tuning)")
    axes.set_ylabel("stability (1: forgets nothing)")
    axes.margins(0.08)


def _draw_line(rows: DataFrame, look: Look, axes: Axes) -> None:
    x, y = rows["plasticity"], rows["stability"]
    axes.plot(x, y, color=look.color, marker=look.marker, linestyle=look.dashes, label=look.title, zorder=2)
    axes.errorbar(
        x, y, xerr=rows["plasticity_half_width"], yerr=rows["stability_half_width"],
        fmt="none", ecolor=look.color, elinewidth=0.7, alpha=0.45, zorder=1,
    )  # fmt: skip
    best = rows["average_accuracy"].arg_max() or 0
    axes.plot(x[best], y[best], "*", color=look.color, markersize=14, markeredgecolor="white", zorder=4)
    for row in rows.iter_rows(named=True):
        place = (row["plasticity"], row["stability"])
        axes.annotate(f"{row['strength']:g}", place, (4, 4), textcoords="offset points", fontsize=6, color=look.color)


def _preset_rows(preset: str, groups: Sequence[Group[Result]]) -> list[dict[str, object]]:
    drawn = [group for group in groups if group.method not in REFERENCES and _strength(group) is not None]
    require_alike(preset, drawn, varied=(*STRENGTHS, "cut"))
    _require_reference(preset, drawn, groups)
    rows = {row.method: row for row in aggregate([result for group in groups for result in group.results])}
    return [_row(preset, group, rows[group.label]) for group in drawn]


def _require_reference(preset: str, drawn: Sequence[Group[Result]], groups: Sequence[Group[Result]]) -> None:
    there = {seed for group in groups if group.method == REFERENCE for seed in group.seeds}
    if missing := sorted({seed for group in drawn for seed in group.seeds} - there):
        raise ValueError(
            f"plasticity compares with {REFERENCE} of the same seed, and its runs on {preset} with seeds "
            f"{', '.join(map(str, missing))} are missing: agscl run {preset} --method {REFERENCE} --seed {missing[0]}"
        )


def _strength(group: Group[Result]) -> float | None:
    values = [group.options[name] for name in STRENGTHS if name in group.options]
    return float(str(values[0]).replace("Infinity", "inf")) if values else None


def _row(preset: str, group: Group[Result], row: Row) -> dict[str, object]:
    method = ags_cl(group)
    measures = row.measures
    return {
        "panel": preset,
        "variant": group.method if method is None else variant_of(method),
        "strength": _strength(group),
        "options": options_in_words(group),
        "seeds": " ".join(map(str, group.seeds)),
        **{name: measures[name].mean for name in ("plasticity", "stability", "average_accuracy")},
        **{f"{name}_half_width": measures[name].half_width for name in ("plasticity", "stability")},
    }
