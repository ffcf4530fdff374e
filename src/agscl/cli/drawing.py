"""What ``agscl figure`` does: make the runs that are missing, read all of them, draw, and say what it stands on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from agscl.experiments import Experiment, name_of, preset_named
from agscl.experiments.many import Failure, run_many
from agscl.experiments.records import read_runs
from agscl.figures.catalogue import FORMATS, Kind, figure_named, make
from agscl.runs import RunFolder
from agscl.runs.files import write_bytes

from .comparing import followed
from .scale import Scale


@dataclass(frozen=True)
class Asked:
    """What was asked for on the command line.

    Attributes:
        figure: Name of the figure.
        recorded: Folders of recorded runs.
        out: The drawing.
        presets: What to learn if runs are to be made; empty draws recorded ones alone.
        seeds: How many seeds, from 0.
        runs: Where made runs are kept.
        processes: Runs at once; `None` for one on each core.
        scale: How much of the preset to run, and where the data is.
    """

    figure: str
    recorded: Sequence[Path]
    out: Path
    presets: Sequence[str]
    seeds: int
    runs: Path
    processes: int | None
    scale: Scale


def draw(asked: Asked) -> int:
    """Draw the figure, with its numbers as CSV beside it.

    Returns:
        0, or 1 if a run that it needs failed.

    Raises:
        ValueError: If something is unknown or out of range, or the runs do not make this figure.
        OSError: If a file cannot be read or written.
    """
    kind = figure_named(asked.figure)
    if asked.out.suffix not in FORMATS:
        raise ValueError(f"a figure is written as {', '.join(FORMATS)}: --out {asked.out} ends in none of them")
    if not asked.recorded and not asked.presets:
        raise ValueError("name run folders to draw, or --preset to make the runs first")
    made, failed = _made(asked, kind) if asked.presets else ([], 0)
    figure = make(kind, read_runs([*asked.recorded, *made]), asked.out.suffix, asked.scale.data_root)
    table = asked.out.with_suffix(".csv")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(asked.out, figure.image)
    write_bytes(table, figure.table.write_csv().encode())
    console = Console()
    for line in [*figure.caption, f"figure: {asked.out}, numbers: {table}"]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    return int(failed > 0)


def _made(asked: Asked, kind: Kind) -> tuple[list[Path], int]:
    """Folders of all runs that the figure needs, those that are missing made now, and how many of these failed."""
    experiments = {_place(asked, experiment).path: experiment for experiment in _experiments(asked, kind)}
    missing = [experiment for path, experiment in experiments.items() if not RunFolder(path).result.exists()]
    processes = asked.processes if asked.processes is not None else (os.cpu_count() or 1)
    runs = run_many(
        missing, lambda e: _place(asked, e), processes=processes, data_root=asked.scale.data_root, resume=True
    )
    failed = sum(isinstance(outcome, Failure) for outcome in followed(runs, len(missing)))
    return [path for path in experiments if RunFolder(path).experiment.exists()], failed


def _experiments(asked: Asked, kind: Kind) -> list[Experiment]:
    if asked.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {asked.seeds}")
    return [
        replace(asked.scale, width=asked.scale.width * width).experiment(preset, method, seed)
        for preset in asked.presets
        for width in kind.widths
        for method in kind.methods(preset_named(preset).tuned)
        for seed in range(asked.seeds)
    ]


def _place(asked: Asked, experiment: Experiment) -> RunFolder:
    """A folder that the experiment alone decides, so that figures share runs."""
    settings = hashlib.sha256(replace(experiment, seed=0).to_json()).hexdigest()[:8]
    method = f"{name_of(experiment.method)}-{settings}"
    return RunFolder(asked.runs / experiment.preset / method / f"seed-{experiment.seed}")
