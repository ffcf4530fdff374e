"""What ``agscl compare`` does: run each method with each seed, and show all of it in one table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from agscl.experiments import Experiment, Result, name_of, preset_named
from agscl.experiments.many import Failure, run_many, run_many_rl
from agscl.experiments.policies.comparison import references, rl_results
from agscl.experiments.policies.experiment import PolicyExperiment
from agscl.experiments.policies.presets import POLICY_PRESETS, policy_preset
from agscl.experiments.policies.result import PolicyResult
from agscl.experiments.records import IncompleteRun, SupervisedRun, read_runs
from agscl.experiments.supervised.aggregate import Row, aggregate
from agscl.experiments.supervised.comparison import REFERENCE
from agscl.methods import AGSCL, AnyMethod
from agscl.runs import RunFolder

from . import reinforcement
from .comparison import STATISTICS, View, show_comparison
from .scale import Scale

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
    if asked.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {asked.seeds}")
    folder = RunFolder(asked.out or Path("runs") / f"{asked.preset}-{datetime.now().astimezone():%Y%m%d-%H%M%S}")
    if not asked.resume:
        folder.require_free()
    failures = (_policies if asked.preset in POLICY_PRESETS else _sequences)(asked, folder)
    console = Console()
    for failure in failures:
        experiment = failure.experiment
        console.print(f"FAILED {name_of(experiment.method)} seed {experiment.seed}: {failure.reason}")
    console.print(f"run folders: {folder.path}", highlight=False, soft_wrap=True)
    return int(bool(failures))


def _sequences(asked: Comparison, folder: RunFolder) -> list[Failure]:
    """Run a preset of data sets, and show the table."""
    methods = _methods(asked, preset_named(asked.preset).tuned)
    scale = asked.scale
    experiments = [scale.experiment(asked.preset, method, seed) for method in methods for seed in range(asked.seeds)]
    runs = run_many(
        experiments,
        partial(_place, folder),
        processes=_processes(asked),
        data_root=scale.data_root,
        resume=asked.resume,
    )
    outcomes = _in_order(followed(runs, len(experiments)), experiments)
    results = [outcome for outcome in outcomes if isinstance(outcome, Result)]
    plural = "" if asked.seeds == 1 else "s"
    title = f"{asked.preset}: {STATISTICS[asked.view.statistic]} over {asked.seeds} seed{plural}"
    console = Console()
    show_comparison(console, title, aggregate(results), asked.view)
    if results:
        console.print(results[0].scale_in_words(), highlight=False)
    return [outcome for outcome in outcomes if isinstance(outcome, Failure)]


def _policies(asked: Comparison, folder: RunFolder) -> list[Failure]:
    """Run a preset of reinforcement learning, and show the table."""
    reinforcement.require_suited(asked.view)
    methods = _methods(asked, policy_preset(asked.preset).tuned)
    if REFERENCE not in map(name_of, methods):
        raise ValueError(f"scores are relative to {REFERENCE}: add it to --methods")
    experiments = [
        reinforcement.experiment_of(asked.preset, method, seed, asked.scale)
        for method in methods
        for seed in range(asked.seeds)
    ]
    runs = run_many_rl(experiments, partial(_place, folder), processes=_processes(asked), resume=asked.resume)
    outcomes = _in_order(followed(runs, len(experiments)), experiments)
    results = [outcome for outcome in outcomes if isinstance(outcome, PolicyResult)]
    if references(results, REFERENCE):
        reinforcement.compare(Console(), results, asked.view)
    return [outcome for outcome in outcomes if isinstance(outcome, Failure)]


def _methods(asked: Comparison, tuned: Mapping[str, AnyMethod]) -> list[AnyMethod]:
    names = list(dict.fromkeys(asked.methods)) if asked.methods is not None else list(tuned)
    for name in names:
        if name not in tuned:
            raise ValueError(f"{asked.preset} has no tuned method {name!r}; it has: {', '.join(tuned)}")
    return [tuned[name] for name in names]


def _processes(asked: Comparison) -> int:
    return asked.processes if asked.processes is not None else (os.cpu_count() or 1)


def _place(folder: RunFolder, experiment: Experiment | PolicyExperiment) -> RunFolder:
    return RunFolder(folder.path / name_of(experiment.method) / f"seed-{experiment.seed}")


Outcome = TypeVar("Outcome", bound=Result | PolicyResult | Failure)


def followed(outcomes: Iterator[Outcome], total: int) -> Iterator[Outcome]:
    """Give outcomes on, and say on stderr what is done."""
    console = Console(stderr=True)
    for number, outcome in enumerate(outcomes, 1):
        experiment = outcome.experiment
        what = "failed: " + outcome.reason if isinstance(outcome, Failure) else "finished"
        console.out(f"[{number}/{total}] {name_of(experiment.method)} seed={experiment.seed} {what}", highlight=False)
        yield outcome


def _in_order(outcomes: Iterable[Outcome], experiments: Sequence[Experiment | PolicyExperiment]) -> list[Outcome]:
    """Outcomes in the order of what was asked."""
    order = {experiment: position for position, experiment in enumerate(experiments)}
    return sorted(outcomes, key=lambda outcome: order[outcome.experiment])


def compare_recorded(folders: Sequence[Path], view: View) -> int:
    """Show recorded runs side by side; incomplete ones are named and left out.

    Raises:
        ValueError: If there is no finished run, or runs differ in more than method and seed.
        OSError: If a file cannot be read or written.
    """
    runs = read_runs(folders)
    results = [run.result for run in runs if isinstance(run, SupervisedRun)]
    policies = rl_results(runs)
    if results and policies:
        raise ValueError("some of these runs learned data sets, some policies: give those of one kind")
    console = Console()
    if policies:
        reinforcement.compare(console, policies, view)
    else:
        _compare_sequences(console, results, view)
    for run in runs:
        if isinstance(run, IncompleteRun):
            tasks = f"{run.learned} of {run.tasks or '?'} tasks"
            console.print(f"INCOMPLETE {run.folder.path}: {tasks}, left out", highlight=False, markup=False)
    return 0


def _compare_sequences(console: Console, results: Sequence[Result], view: View) -> None:
    if not results:
        raise ValueError("no finished run of a sequence of tasks among these: nothing to compare")
    rows = aggregate(results)
    view = view if view.baseline is not None else replace(view, baseline=_default_baseline(rows))
    show_comparison(console, f"{results[0].experiment.preset}: {STATISTICS[view.statistic]} over seeds", rows, view)
    console.print(results[0].scale_in_words(), highlight=False)
    if not any("plasticity" in row.values for row in rows):
        missing = f"no plasticity: it compares with {REFERENCE} of the same seed, which is not among these runs"
        console.print(missing, highlight=False, soft_wrap=True)


def _default_baseline(rows: Sequence[Row]) -> str | None:
    """AGS-CL, or the first of several rows; a single row is compared with nothing."""
    names = [row.method for row in rows]
    return None if len(names) == 1 else next((name for name in names if name == AGSCL.name), names[0])
