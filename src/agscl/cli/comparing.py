"""What ``agscl compare`` does: run each method with each seed, and show all of it in one table."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agscl.experiments import Experiment, Preset, Result, name_of, preset_named
from agscl.experiments.aggregate import Row, aggregate
from agscl.experiments.many import Failure, Outcome, run_many
from agscl.methods import AnyMethod
from agscl.metrics.interval import Interval
from agscl.runs import RunFolder

from .scale import Scale
from .tables import scale_of

PERCENTAGES = {
    "average_accuracy": "accuracy %",
    "forgetting": "forgetting %",
    "plasticity": "plasticity %",
    "stability": "stability %",
}
COSTS = {"regularization_bytes": "regularization bytes", "memory_bytes": "memory bytes", "seconds": "seconds"}


@dataclass(frozen=True)
class Comparison:
    """What was asked for on the command line.

    Attributes:
        preset: Name of the preset.
        methods: Names of the methods; `None` for all that the preset has tuned.
        seeds: How many seeds, from 0.
        scale: How much of the preset to run, and where the data is.
        processes: Runs at once; `None` for one on each core.
        out: Folder of the runs; `None` makes a new one under ``runs``.
    """

    preset: str
    methods: Sequence[str] | None
    seeds: int
    scale: Scale
    processes: int | None
    out: Path | None


def start(asked: Comparison) -> int:
    """Run the comparison and show it.

    Returns:
        0, or 1 if a run failed.

    Raises:
        ValueError: If something is unknown or out of range.
        OSError: If the folder cannot be written.
    """
    experiments = _experiments(asked)
    folder = RunFolder(asked.out or Path("runs") / f"{asked.preset}-{datetime.now().astimezone():%Y%m%d-%H%M%S}")
    folder.require_free()
    processes = asked.processes if asked.processes is not None else (os.cpu_count() or 1)
    runs = run_many(experiments, lambda e: _place(folder, e), processes=processes, data_root=asked.scale.data_root)
    outcomes = list(_followed(runs, len(experiments)))
    _show(asked, experiments, outcomes, folder)
    return int(any(isinstance(outcome, Failure) for outcome in outcomes))


def _experiments(asked: Comparison) -> list[Experiment]:
    if asked.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {asked.seeds}")
    preset = preset_named(asked.preset)
    return [
        asked.scale.experiment(asked.preset, method, seed)
        for method in _methods(asked, preset)
        for seed in range(asked.seeds)
    ]


def _methods(asked: Comparison, preset: Preset) -> list[AnyMethod]:
    tuned = preset.tuned
    names = list(dict.fromkeys(asked.methods)) if asked.methods is not None else list(tuned)
    for name in names:
        if name not in tuned:
            raise ValueError(f"{asked.preset} has no tuned method {name!r}; it has: {', '.join(tuned)}")
    return [tuned[name] for name in names]


def _place(folder: RunFolder, experiment: Experiment) -> RunFolder:
    return RunFolder(folder.path / name_of(experiment.method) / f"seed-{experiment.seed}")


def _followed(outcomes: Iterator[Outcome], total: int) -> Iterator[Outcome]:
    """Say on stderr what is done."""
    console = Console(stderr=True)
    for number, outcome in enumerate(outcomes, 1):
        experiment = outcome.experiment
        what = "failed: " + outcome.reason if isinstance(outcome, Failure) else "finished"
        console.out(f"[{number}/{total}] {name_of(experiment.method)} seed={experiment.seed} {what}", highlight=False)
        yield outcome


def _show(asked: Comparison, experiments: Sequence[Experiment], outcomes: Sequence[Outcome], folder: RunFolder) -> None:
    order = {experiment: position for position, experiment in enumerate(experiments)}
    ordered = sorted(outcomes, key=lambda outcome: order[outcome.experiment])
    results = [outcome for outcome in ordered if isinstance(outcome, Result)]
    table = _table(aggregate(results))
    plural = "" if asked.seeds == 1 else "s"
    table.title = f"{asked.preset}: mean ± 95 % interval over {asked.seeds} seed{plural}"
    console = Console()
    console.print(table if console.is_terminal else _lines(console, table))
    if results:
        console.print(scale_of(results[0]), highlight=False)
    for outcome in ordered:
        if isinstance(outcome, Failure):
            console.print(
                f"FAILED {name_of(outcome.experiment.method)} seed {outcome.experiment.seed}: {outcome.reason}"
            )
    console.print(f"run folders: {folder.path}", highlight=False, soft_wrap=True)


def _lines(console: Console, table: Table) -> Table:
    """Wide enough for every column where no terminal sets the width."""
    console.width = max(console.width, 160)
    return table


def _table(rows: Sequence[Row]) -> Table:
    table = Table(title_justify="left")
    table.add_column("method")
    table.add_column("seeds", justify="right")
    for heading in (*PERCENTAGES.values(), *COSTS.values()):
        table.add_column(heading, justify="right")
    for row in rows:
        shown = [_percent(row.measures.get(name)) for name in PERCENTAGES]
        costs = [_number(row.measures.get(name)) for name in COSTS]
        table.add_row(row.method, str(len(row.seeds)), *shown, *costs)
    return table


def _percent(value: Interval | None) -> str:
    return "-" if value is None else _with_interval(Interval(100 * value.mean, 100 * value.half_width), 1)


def _number(value: Interval | None) -> str:
    return "-" if value is None else _with_interval(value, 0)


def _with_interval(value: Interval, digits: int) -> str:
    mean = f"{value.mean:,.{digits}f}"
    if math.isnan(value.half_width):
        return mean
    return mean if value.half_width == 0 else f"{mean} ± {value.half_width:,.{digits}f}"
