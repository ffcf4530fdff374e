"""``agscl report``: runs as one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .parser import Commands

DESCRIPTION = """Write one HTML page on one or more runs: measures with intervals, accuracy matrices, forgetting, node
maps, costs, and what it takes to repeat each run. The page needs no network and no other file."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("report", help="show runs as one HTML page", description=DESCRIPTION)
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="run folders, or folders that hold some")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the page, such as report.html")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the page; imports what is heavy.

    Raises:
        ValueError: If a folder holds no run that can be read, or jinja2 is not installed.
        OSError: If a file cannot be read or written.
    """
    from rich.console import Console

    from agscl.extras import require

    require("jinja2", extra="report")
    from agscl.experiments.records import read_runs
    from agscl.report import page
    from agscl.runs.files import write_bytes

    write_bytes(arguments.out, page(read_runs(arguments.runs)))
    Console().print(f"report: {arguments.out}", highlight=False, soft_wrap=True, markup=False)
    return 0
