"""``agscl figure``: the figures of the paper, from recorded runs or from runs that it makes."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agscl.benchmarks.own.source import OwnSource, is_own
from agscl.experiments import Experiment, experiment_of
from agscl.experiments.kind import AnyExperiment
from agscl.experiments.kinds import Choice
from agscl.experiments.policies.presets import PolicyPreset
from agscl.experiments.records import read_runs
from agscl.figures.catalogue import FORMATS, Kind, figure_named, make
from agscl.runs import RunFolder
from agscl.runs.export import plain_texts
from agscl.runs.files import write_files

from .console import Output
from .progress import run_all
from .run import choice_of, file_name, overrides_from, require_no_data


def run(arguments: argparse.Namespace) -> int:
    """Make the runs that are missing, read all of them, draw, and say what the drawing is made of.

    Returns:
        0, or 1 if a run that the figure needs failed.
    """
    kind, out = figure_named(arguments.figure), arguments.out or Path(f"figure-{arguments.figure}.svg")
    if out.suffix not in FORMATS:
        raise ValueError(f"a figure is written as {', '.join(FORMATS)}: --out {out} ends in none of them")
    if not arguments.recorded and arguments.preset is None:
        raise ValueError("name run folders to draw, or --preset to make the runs first")
    numbers, made, failed = out.with_suffix(".csv"), list[Path](), 0
    if arguments.preset is not None:
        choices = _choices(kind, arguments)
        for file in (out, numbers):
            require_no_data(file, choices)
        made, failed = _make_runs(kind, choices, arguments)
    runs, looks = read_runs([*arguments.recorded, *made]), {"bands": not arguments.no_bands, "bare": arguments.bare}
    figure = make(kind, runs, out.suffix, arguments.data_root, **looks)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_files({numbers: plain_texts(figure.table).write_csv().encode(), out: figure.image})
    output = Output()
    for line in [*figure.caption, f"figure: {out}, numbers: {numbers}"]:
        output.say(line)
    return int(failed > 0)


def _make_runs(kind: Kind, choices: Sequence[Choice], arguments: argparse.Namespace) -> tuple[list[Path], int]:
    """Folders of all runs that the figure needs, those that are missing made now, and how many of these failed."""
    overrides = overrides_from(arguments)
    folders: dict[AnyExperiment, RunFolder] = {}
    for choice in choices:
        of_preset = arguments.runs / file_name(choice.name)
        for width in kind.widths:
            scaled = replace(overrides, width=overrides.width * width)
            for method in kind.methods(choice.preset.tuned):
                for seed in range(arguments.seeds):
                    experiment = experiment_of(choice.asked, method, seed, scaled)
                    of_method = of_preset / f"{experiment.method_name}-{_settings(experiment)}"
                    folders[experiment] = RunFolder(of_method / f"seed-{seed}")
    missing = [experiment for experiment, folder in folders.items() if not folder.result.exists()]
    _, failures = run_all(missing, folders.__getitem__, arguments, resume=True)
    return [folder.path for folder in folders.values() if folder.experiment.exists()], len(failures)


def _choices(kind: Kind, arguments: argparse.Namespace) -> list[Choice]:
    """What ``--preset`` asks to learn: presets and own data, of the kind that the figure shows."""
    if arguments.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {arguments.seeds}")
    text = arguments.preset
    one = is_own(text) and Path(OwnSource.parse(text).place).exists()  # a path may have commas
    choices = [choice_of(name, arguments) for name in ([text] if one else text.split(","))]
    for choice in choices:
        if not isinstance(choice.preset, kind.shows):
            shown = "reinforcement learning" if kind.shows is PolicyPreset else "data sets"
            raise ValueError(f"figure {arguments.figure} shows runs of {shown}: {choice.name} is none")
    return choices


def _settings(experiment: AnyExperiment) -> str:
    """Digits that stand for all of an experiment but its seed and the place of own data: figures share runs by them."""
    experiment = replace(experiment, seed=0)  # type: ignore[type-var] # every kind of experiment is a dataclass
    if isinstance(experiment, Experiment) and experiment.own is not None:
        experiment = replace(experiment, own=replace(experiment.own, source="set:own", task_file=None))
    return hashlib.sha256(experiment.to_json()).hexdigest()[:8]
