"""Figure 6(c): plasticity against stability as lambda varies: AGS-CL, AGS-CL without its parts, and a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from agscl.experiments.groups import Group
from agscl.experiments.supervised.comparison import REFERENCE, aggregate
from agscl.experiments.supervised.result import Result
from agscl.methods import AGSCL

from .palette import LOOKS, OTHERS, Look, looks
from .selection import columns, groups_by_preset, require_alike, table_of
from .style import ends_of_axis, label_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import DataFrame

FULL = "AGS-CL"
WITHOUT_CUT = "without (I.1)"
WITHOUT_DRAW = "without (I.2)"
WITHOUT_BOTH = "without re-initialisation"

STRENGTHS = ("lam", "c")
"""What the strength of a method is called."""

REFERENCES = (REFERENCE, "joint", "single-task")
"""Methods without a strength: they are compared with, not drawn."""

LINES: Mapping[str, Look] = {
    FULL: LOOKS["ags-cl"],
    WITHOUT_CUT: OTHERS[0]._replace(title=WITHOUT_CUT, dashes="--"),
    WITHOUT_DRAW: OTHERS[1]._replace(title=WITHOUT_DRAW, dashes="--"),
    WITHOUT_BOTH: OTHERS[2]._replace(title=WITHOUT_BOTH, dashes=":"),
    "mas": LOOKS["mas"],
}


def variant_of(group: Group[Result]) -> str:
    """The variant of AGS-CL, by its re-initialisations, that a group is; the method's name if it is another method."""
    method = group.results[0].experiment.method
    if not isinstance(method, AGSCL):
        return group.method
    if method.cut:
        return FULL if method.rho > 0 else WITHOUT_DRAW
    return WITHOUT_CUT if method.rho > 0 else WITHOUT_BOTH


def data(results: Sequence[Result]) -> DataFrame:
    """One row per variant and strength: plasticity and stability over the seeds, with half of their 95 % intervals.

    Raises:
        ValueError: If fine-tuning of a seed is missing (plasticity compares with it), or runs differ in more than
            seed, variant and strength.
    """
    rows: list[dict[str, object]] = []
    for preset, entries in groups_by_preset(results).items():
        drawn = [group for group in entries if group.method not in REFERENCES and _strength(group) is not None]
        require_alike(preset, drawn, varied=(*STRENGTHS, "cut"))
        with_reference = {seed for group in entries if group.method == REFERENCE for seed in group.seeds}
        if missing := sorted({seed for group in drawn for seed in group.seeds} - with_reference):
            raise ValueError(
                f"plasticity compares with {REFERENCE} of the same seed, and its runs on {preset} with seeds "
                f"{', '.join(map(str, missing))} are missing: agscl run {preset} --method {REFERENCE} "
                f"--seed {missing[0]}"
            )
        measures = {row.method: row.measures for row in aggregate([r for group in entries for r in group.results])}
        rows += [
            {"panel": preset, "variant": variant_of(group), "strength": _strength(group), **columns(group)}
            | {name: measures[group.label][name].mean for name in ("plasticity", "stability", "average_accuracy")}
            | {f"{name}_half_width": measures[group.label][name].half_width for name in ("plasticity", "stability")}
            for group in drawn
        ]
    if not rows:
        raise ValueError("this figure needs runs of a method with a strength, such as ags-cl with --method.lam")
    return table_of(rows)


def draw(table: DataFrame, axes: Axes) -> None:
    """Draw one benchmark: a line a variant through its strengths; a star where its average accuracy is best."""
    variants = table["variant"].unique(maintain_order=True).to_list()
    look_of, labels = {**looks(variants), **LINES}, []
    for variant in [*(name for name in LINES if name in variants), *(name for name in variants if name not in LINES)]:
        rows, look = table.filter(table["variant"] == variant).sort("strength"), look_of[variant]
        x, y = rows["plasticity"], rows["stability"]
        axes.plot(x, y, color=look.color, marker=look.marker, linestyle=look.dashes, label=look.title, zorder=2)
        axes.errorbar(
            x, y, xerr=rows["plasticity_half_width"], yerr=rows["stability_half_width"],
            fmt="none", ecolor=look.color, elinewidth=0.7, alpha=0.45, zorder=1,
        )  # fmt: skip
        best = rows["average_accuracy"].arg_max() or 0
        axes.plot(x[best], y[best], "*", color=look.color, markersize=12, markeredgecolor="white", zorder=4)
        labels += [(a, b, f"{s:g}", look.color) for a, b, s in zip(x, y, rows["strength"], strict=True)]
    axes.set_xlabel("plasticity (1: learns as well as fine-tuning)")
    axes.set_ylabel("stability (1: forgets nothing)")
    for measure, axis in {"plasticity": "x", "stability": "y"}.items():
        mean, half = table[measure], table[f"{measure}_half_width"].fill_nan(0.0)
        low, high = ends_of_axis(mean, [*(mean - half), *(mean + half)], least=0.04)
        axes.set(**{f"{axis}lim": (low - 0.05 * (high - low), high + 0.05 * (high - low))})
    label_points(axes, labels)


def _strength(group: Group[Result]) -> float | None:
    values = [group.options[name] for name in STRENGTHS if name in group.options]
    return float(str(values[0]).replace("Infinity", "inf")) if values else None
