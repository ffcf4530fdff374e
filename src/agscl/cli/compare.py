"""``agscl compare``: every method on one preset, over several seeds, as one table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .run import add_scale

if TYPE_CHECKING:
    from .parser import Commands

DESCRIPTION = """Run methods on a preset over several seeds, in parallel, one thread each, and print one table:
the mean over the seeds with its 95 % confidence interval. Every run is kept in a folder of its own."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("compare", help="compare methods over several seeds", description=DESCRIPTION)
    parser.add_argument("preset", metavar="PRESET", help="what to learn, such as digits")
    parser.add_argument("--methods", metavar="A,B,...", help="which methods (default: all that the preset has tuned)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 to N-1 (default: 3)")
    add_scale(parser)
    parser.add_argument("--processes", type=int, metavar="N", help="runs at once (default: one for each core)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="new folder (default: runs/PRESET-TIME)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; imports what is heavy.

    Returns:
        0, or 1 if a run failed.

    Raises:
        ValueError: If an argument does not fit.
        OSError: If a folder cannot be written.
    """
    from .comparing import Comparison, start
    from .scale import scale_from

    names = arguments.methods.split(",") if arguments.methods is not None else None
    return start(
        Comparison(
            preset=arguments.preset,
            methods=names,
            seeds=arguments.seeds,
            scale=scale_from(arguments),
            processes=arguments.processes,
            out=arguments.out,
        )
    )
