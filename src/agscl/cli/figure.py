"""``agscl figure``: the figures of the paper, from recorded runs or from runs that it makes."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agscl.experiments import Experiment
from agscl.experiments.kind import AnyExperiment
from agscl.experiments.records import read_runs
from agscl.experiments.supervised.presets import supervised_preset
from agscl.figures.catalogue import FORMATS, Kind, figure_named, make
from agscl.runs import RunFolder
from agscl.runs.export import plain_texts
from agscl.runs.files import write_bytes

from .console import Output
from .progress import run_all
from .run import overrides_from


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
    made, failed = _make_runs(kind, arguments) if arguments.preset is not None else ([], 0)
    runs, looks = read_runs([*arguments.recorded, *made]), {"bands": not arguments.no_bands, "bare": arguments.bare}
    figure = make(kind, runs, out.suffix, arguments.data_root, **looks)
    numbers = out.with_suffix(".csv")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, figure.image)
    write_bytes(numbers, plain_texts(figure.table).write_csv().encode())
    output = Output()
    for line in [*figure.caption, f"figure: {out}, numbers: {numbers}"]:
        output.say(line)
    return int(failed > 0)


def _make_runs(kind: Kind, arguments: argparse.Namespace) -> tuple[Sequence[Path], int]:
    """Folders of all runs that the figure needs, those that are missing made now, and how many of these failed."""
    if arguments.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {arguments.seeds}")
    overrides = overrides_from(arguments)
    folders: dict[AnyExperiment, RunFolder] = {}
    for preset in arguments.preset.split(","):
        for width in kind.widths:
            scaled = replace(overrides, width=overrides.width * width)
            for method in kind.methods(supervised_preset(preset).tuned):
                for seed in range(arguments.seeds):
                    experiment = Experiment.of_preset(preset, method, seed, scaled)
                    # figures share runs: the experiment alone decides on its folder
                    settings = hashlib.sha256(replace(experiment, seed=0).to_json()).hexdigest()[:8]
                    of_method = arguments.runs / preset / f"{experiment.method_name}-{settings}"
                    folders[experiment] = RunFolder(of_method / f"seed-{seed}")
    missing = [experiment for experiment, folder in folders.items() if not folder.result.exists()]
    _, failures = run_all(missing, folders.__getitem__, arguments, resume=True)
    return [folder.path for folder in folders.values() if folder.experiment.exists()], len(failures)
