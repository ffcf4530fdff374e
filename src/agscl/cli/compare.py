"""``agscl compare``: methods over several seeds as one table, run now on a preset or recorded before."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .run import add_scale

if TYPE_CHECKING:
    from .parser import Commands

DESCRIPTION = """With a PRESET: run methods over several seeds, in parallel, one thread each, and print one table:
the mean over the seeds with its 95 % confidence interval. Every run is kept in a folder of its own.
With RUN folders: the same table of recorded runs, and each method tested against a baseline on the same seeds."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("compare", help="compare methods over several seeds", description=DESCRIPTION)
    parser.add_argument(
        "what",
        metavar="PRESET_OR_RUN",
        nargs="+",
        help="what to learn, such as digits; or run folders, or folders of them",
    )
    parser.add_argument("--methods", metavar="A,B,...", help="which methods (default: all that the preset has tuned)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 to N-1 (default: 3)")
    add_scale(parser)
    parser.add_argument("--processes", type=int, metavar="N", help="runs at once (default: one for each core)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="new folder (default: runs/PRESET-TIME)")
    parser.add_argument("--resume", action="store_true", help="go on where the runs in --out stopped")
    shown = parser.add_argument_group("the table")
    shown.add_argument("--statistic", choices=("mean", "iqm"), default="mean", help="mean, or interquartile mean")
    shown.add_argument("--baseline", metavar="METHOD", help="test the others against it on the same seeds")
    shown.add_argument("--export", type=Path, metavar="FILE", help="write the table, too: .csv, .md or .tex")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; imports what is heavy.

    Returns:
        0, or 1 if a run failed.

    Raises:
        ValueError: If an argument does not fit.
        OSError: If a folder cannot be written.
    """
    from agscl.experiments import PRESETS
    from agscl.experiments.policies.presets import POLICY_PRESETS

    from .comparing import Comparison, compare_recorded, start
    from .comparison import View
    from .scale import scale_from

    view = View(arguments.statistic, arguments.baseline, arguments.export)
    is_preset = arguments.what[0] in {*PRESETS, *POLICY_PRESETS}
    if len(arguments.what) > 1 or (not is_preset and Path(arguments.what[0]).is_dir()):
        return compare_recorded([Path(folder) for folder in arguments.what], view)
    names = arguments.methods.split(",") if arguments.methods is not None else None
    return start(
        Comparison(
            preset=arguments.what[0],
            methods=names,
            seeds=arguments.seeds,
            scale=scale_from(arguments),
            processes=arguments.processes,
            out=arguments.out,
            resume=arguments.resume,
            view=view,
        )
    )
