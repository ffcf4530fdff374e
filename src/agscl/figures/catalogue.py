"""Every figure by its name: from runs to a table, from the table to a drawing, with a caption that names the runs."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agscl.experiments.fullness import fullness_of
from agscl.experiments.kind import AnyPreset
from agscl.experiments.policies.comparison import not_measured
from agscl.experiments.policies.presets import PolicyPreset
from agscl.experiments.records import StoredRun
from agscl.experiments.supervised.presets import Preset
from agscl.extras import require

from . import ablation, capacity, curves, filling, memory, pruning, rewards, runs_needed, tradeoff
from .selection import finished, left_out, provenance
from .style import SETTINGS, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from polars import DataFrame

WIDTH = 4.4
"""Of one panel, in inches."""

PANELS = 3
"""Most panels in a row."""

FORMATS = (".svg", ".png", ".pdf")


@dataclass(frozen=True)
class Kind:
    """How one figure is made.

    Attributes:
        title: What it shows.
        data: Runs and the folder of data sets to a table; the column ``panel`` says which rows go into one panel.
        draw: One panel's rows onto its axes.
        intervals: What its intervals are, for the small print; nothing if it has none and shows no means.
        methods: What it needs runs of.
        widths: At which widths of the network.
        select: Takes those of the given runs that it can use.
        remarks: More lines of small print about the results that it used.
        note: What else helps to read it.
        shows: Class of the presets whose runs it can use.
    """

    title: str
    data: Callable[[Sequence[Any], Path | None], DataFrame]
    draw: Callable[[DataFrame, Axes], None]
    intervals: str
    methods: runs_needed.MethodsNeeded
    widths: Sequence[float] = (1.0,)
    select: Callable[[Sequence[StoredRun]], Sequence[Any]] = finished
    remarks: Callable[[Sequence[Any]], Iterable[str]] = lambda results: ()
    note: str = ""
    shows: type[AnyPreset] = Preset


@dataclass(frozen=True)
class Made:
    """A figure that is made: a drawing of the table, and line by line how to read it and what it was made from."""

    image: bytes
    table: DataFrame
    caption: Sequence[str]


def make(
    kind: Kind,
    runs: Sequence[StoredRun],
    suffix: str,
    data_root: Path | None = None,
    *,
    bands: bool = True,
    bare: bool = False,
) -> Made:
    """Make a figure from runs.

    Args:
        kind: Which figure; one of `FIGURES`.
        runs: What it is made from; incomplete ones are named in the caption and left out.
        suffix: Format of the drawing, one of `FORMATS`.
        data_root: Folder of the data sets, for figures that ask models again; default: the platform's cache folder.
        bands: Draw intervals, as bands or whiskers.
        bare: Draw neither title nor small print, which the file's metadata and the caption still hold.

    Raises:
        ValueError: If the runs do not fit the figure, the format is unknown, or matplotlib is not installed.
    """
    if suffix not in FORMATS:
        raise ValueError(f"a figure is written as {', '.join(FORMATS)}, not {suffix!r}: change the ending of --out")
    used = kind.select(runs)
    results = [run.result for run in used]
    table = kind.data(used, data_root)
    reading = how_to_read(kind, table, bands=bands)
    caption = [*reading, *provenance(results), *kind.remarks(results), *left_out(runs)]
    drawn = table if bands else without_intervals(table)
    with require("matplotlib", extra="report").rc_context(dict(SETTINGS)):
        file, said = io.BytesIO(), " ".join(caption)
        about: Mapping[str, dict[str, Any]] = {
            ".svg": {"Date": None, "Description": said},
            ".png": {"Description": said},
            ".pdf": {"CreationDate": None, "Subject": said},
        }
        _drawn(kind, drawn, [] if bare else caption, bare=bare).savefig(
            file, format=suffix.removeprefix("."), dpi=200, metadata=about[suffix]
        )
    return Made(file.getvalue(), table, caption)


def how_to_read(kind: Kind, table: DataFrame, *, bands: bool) -> Iterator[str]:
    """What the lines and intervals are, for the small print; of one seed there is neither mean nor interval."""
    several = any(" " in of_seeds for of_seeds in table["seeds"])
    means = f"Mean over the seeds{f'; {kind.intervals}' if bands else ''}." if kind.intervals and several else ""
    yield from filter(None, [" ".join(filter(None, [means, kind.note]))])


def without_intervals(table: DataFrame) -> DataFrame:
    """The table of a figure as if nothing had an interval."""
    import polars

    known = [name for name in table.columns if name.endswith("half_width") or name in ("low", "high")]
    return table.with_columns(polars.lit(math.nan).alias(name) for name in known)


def _drawn(kind: Kind, table: DataFrame, caption: Sequence[str], *, bare: bool) -> Figure:
    panels = table.partition_by("panel", maintain_order=True)
    columns = min(len(panels), PANELS)
    rows = math.ceil(len(panels) / columns)
    width = max(WIDTH * columns, 1.35 * WIDTH)
    small = [line for text in caption for line in textwrap.wrap(text, round(20 * width))]
    handles: dict[str, Any] = {}
    figure: Figure = require("matplotlib.figure", extra="report").Figure(figsize=(width, 1))
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, panel_axes in zip(panels, axes, strict=False):
        panel_axes.set_title(panel["panel"][0])
        kind.draw(panel, panel_axes)
        lines, names = panel_axes.get_legend_handles_labels()
        for name, line in zip(names, lines, strict=True):
            handles.setdefault(name, line)
    for spare in axes[len(panels) :]:
        spare.remove()
    _arrange(figure, rows, handles, "" if bare else kind.title, small)
    return figure


def _arrange(figure: Figure, rows: int, handles: Mapping[str, Any], title: str, small: Sequence[str]) -> None:
    """Title above, if there is one, panels, legend and small print, each with the room that it needs (in inches)."""
    longest = max((len(label) for label in handles), default=0)
    per_row = max(1, int(figure.get_figwidth() / (0.5 + 0.06 * longest)))
    legend = 0.24 * math.ceil(len(handles) / per_row) + 0.1 if handles else 0.0
    print_height = 0.115 * len(small) + 0.12 if small else 0.02
    title_height = 0.34 if title else 0.0
    height = 0.08 + title_height + 3.0 * rows + legend + print_height
    figure.set_figheight(height)
    if title:
        figure.suptitle(title, x=0.012, y=1 - 0.1 / height, ha="left", va="top", fontsize=11, fontweight="bold")
    below, above = (legend + print_height) / height, title_height / height
    figure.set_layout_engine("constrained", rect=(0, below, 1, 1 - below - above), w_pad=0.12, h_pad=0.08)
    if handles:
        figure.legend(
            list(handles.values()), list(handles), loc="lower left", ncols=per_row,
            bbox_to_anchor=(0.005, (print_height - 0.02) / height), columnspacing=1.4, handlelength=2.4,
        )  # fmt: skip
    figure.text(
        0.012, 0.06 / height, "\n".join(small), fontsize=6, color=SOFT, ha="left", va="bottom", linespacing=1.25
    )


BANDS = "bands are 95 % t intervals, cut off at the axes"
BARS = "bars are 95 % t intervals, cut off at the axes, which follow the means"

AGS_CL_ALONE = partial(finished, only="ags-cl")


def recorded(data: Callable[[Sequence[Any]], DataFrame]) -> Callable[[Sequence[Any], Path | None], DataFrame]:
    """A table that needs the results of runs and no data set."""
    return lambda runs, data_root: data([run.result for run in runs])


def ablation_of(
    option: str, title: str, methods: runs_needed.MethodsNeeded, *, widths: Sequence[float] = (1.0,)
) -> Kind:
    """The figure of what one hyper-parameter of AGS-CL changes."""
    data = recorded(partial(ablation.data, option))
    return Kind(f"AGS-CL: {title}", data, ablation.draw, BARS, methods, widths, AGS_CL_ALONE)


OVER_TASKS = Kind(
    "Average accuracy over the tasks so far", recorded(curves.data), curves.draw, BANDS, runs_needed.all_tuned
)

FIGURES: Mapping[str, Kind] = {
    "3": Kind(
        "AOPC: nodes pruned in order of their importance",
        pruning.data,
        pruning.draw,
        BANDS,
        runs_needed.ags_cl_alone,
        select=AGS_CL_ALONE,
        note=f"Random order: mean of {pruning.RANDOM_ORDERS} draws.",
    ),
    "4": OVER_TASKS,
    "5": OVER_TASKS,
    "6a": Kind(
        "Memory that protection takes",
        recorded(memory.data),
        memory.draw,
        "",
        runs_needed.all_tuned,
        note="After the last task; of several seeds the most.",
    ),
    "6b": Kind(
        "Nodes that are free (sparsity) and frozen (used capacity)",
        recorded(capacity.data),
        capacity.draw,
        BANDS,
        runs_needed.with_and_without,
        select=AGS_CL_ALONE,
        remarks=fullness_of,
    ),
    "6c": Kind(
        "Plasticity and stability, by strength of protection",
        recorded(tradeoff.data),
        tradeoff.draw,
        BARS,
        runs_needed.strengths,
        note="Small numbers are the strength, where there is room; a star marks each line's best average accuracy.",
    ),
    "7": Kind(
        "Reinforcement learning: reward, plasticity and stability",
        recorded(rewards.data),
        rewards.draw,
        "bands are 95 % bootstrap intervals",
        runs_needed.all_tuned,
        select=rewards.select,
        remarks=not_measured,
        note="Rewards are relative: random actions 0, fine-tuning 1.",
        shows=PolicyPreset,
    ),
    "nodes": Kind(
        "Nodes fill up, task after task",
        lambda runs, data_root: filling.data(runs),
        filling.draw,
        "",
        runs_needed.ags_cl_alone,
        select=filling.select,
        note="Of each layer, in percent; of several seeds the mean. Dead nodes are zero, and learn only if drawn anew.",
    ),
    "rho": ablation_of("rho", "share rho of the free nodes re-initialised", runs_needed.rhos),
    "proximal": ablation_of("proximal", "proximal step every epoch or step, or gradient", runs_needed.proximal_steps),
    "width": ablation_of("width", "width of the network", runs_needed.ags_cl_alone, widths=(0.25, 0.5, 1.0, 2.0)),
}
"""By the number that the paper gives it, or the hyper-parameter that an ablation varies."""


def figure_named(name: str) -> Kind:
    """The figure of that name.

    Raises:
        ValueError: If there is none.
    """
    if name not in FIGURES:
        raise ValueError(f"unknown figure {name!r}; there are: {', '.join(FIGURES)}")
    return FIGURES[name]
