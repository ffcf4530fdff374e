"""What ``agscl compare`` does: run each method with each seed, and show all of it in one table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from rich.console import Console

from agscl.experiments import Experiment, Preset, Result, name_of, preset_named
from agscl.experiments.aggregate import Row, aggregate
from agscl.experiments.comparison import REFERENCE
from agscl.experiments.many import Failure, Outcome, run_many
from agscl.experiments.rl.comparison import rl_results
from agscl.experiments.stored import IncompleteRun, SequenceRun, read_runs
from agscl.methods import AGSCL, AnyMethod
from agscl.runs import RunFolder

from . import reinforcement
from .comparison import STATISTICS, View, show_comparison
from .scale import Scale
from .tables import scale_of

PLAIN = View()


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
        resume: Go on where the runs in that folder stopped.
        view: How it is shown.
    """

    preset: str
    methods: Sequence[str] | None
    seeds: int
    scale: Scale
    processes: int | None
    out: Path | None
    resume: bool = False
    view: View = PLAIN


def start(asked: Comparison) -> int:
    """Run the comparison and show it.

    Returns:
        0, or 1 if a run failed.

    Raises:
        ValueError: If something is unknown or out of range.
        OSError: If the folder cannot be written.
    """
    if asked.resume and asked.out is None:
        raise ValueError("--resume needs --out: the folder of the runs that are to go on")
    experiments = _experiments(asked)
    folder = RunFolder(asked.out or Path("runs") / f"{asked.preset}-{datetime.now().astimezone():%Y%m%d-%H%M%S}")
    if not asked.resume:
        folder.require_free()
    processes = asked.processes if asked.processes is not None else (os.cpu_count() or 1)
    runs = run_many(
        experiments,
        lambda e: _place(folder, e),
        processes=processes,
        data_root=asked.scale.data_root,
        resume=asked.resume,
    )
    outcomes = list(followed(runs, len(experiments)))
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


def followed(outcomes: Iterator[Outcome], total: int) -> Iterator[Outcome]:
    """Give outcomes on, and say on stderr what is done."""
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
    plural = "" if asked.seeds == 1 else "s"
    title = f"{asked.preset}: {STATISTICS[asked.view.statistic]} over {asked.seeds} seed{plural}"
    console = Console()
    show_comparison(console, title, aggregate(results), asked.view)
    if results:
        console.print(scale_of(results[0]), highlight=False)
    for outcome in ordered:
        if isinstance(outcome, Failure):
            console.print(
                f"FAILED {name_of(outcome.experiment.method)} seed {outcome.experiment.seed}: {outcome.reason}"
            )
    console.print(f"run folders: {folder.path}", highlight=False, soft_wrap=True)


def compare_recorded(folders: Sequence[Path], view: View) -> int:
    """Show recorded runs side by side; incomplete ones are named and left out.

    Raises:
        ValueError: If there is no finished run, or runs differ in more than method and seed.
        OSError: If a file cannot be read or written.
    """
    runs = read_runs(folders)
    if policies := rl_results(runs):
        reinforcement.compare(Console(), policies)
        return 0
    results = [run.result for run in runs if isinstance(run, SequenceRun)]
    if not results:
        raise ValueError("no finished run of a sequence of tasks among these: nothing to compare")
    rows = aggregate(results)
    view = view if view.baseline is not None else replace(view, baseline=_default_baseline(rows))
    console = Console()
    show_comparison(console, f"{results[0].experiment.preset}: {STATISTICS[view.statistic]} over seeds", rows, view)
    console.print(scale_of(results[0]), highlight=False)
    if not any("plasticity" in row.values for row in rows):
        missing = f"no plasticity: it compares with {REFERENCE} of the same seed, which is not among these runs"
        console.print(missing, highlight=False, soft_wrap=True)
    for run in runs:
        if isinstance(run, IncompleteRun):
            tasks = f"{run.learned} of {run.tasks or '?'} tasks"
            console.print(f"INCOMPLETE {run.folder.path}: {tasks}, left out", highlight=False, markup=False)
    return 0


def _default_baseline(rows: Sequence[Row]) -> str | None:
    """AGS-CL, or the first of several rows; a single row is compared with nothing."""
    names = [row.method for row in rows]
    return None if len(names) == 1 else next((name for name in names if name == AGSCL.name), names[0])
