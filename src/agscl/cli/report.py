"""``agscl report``: runs as one HTML page."""

from __future__ import annotations

import argparse

from agscl.experiments.records import read_runs
from agscl.extras import require
from agscl.runs.files import write_bytes
from agscl.sweeps.folder import SweepFolder
from agscl.sweeps.record import SweepRecord

from .console import Output


def run(arguments: argparse.Namespace) -> int:
    """Write the page; returns 0."""
    require("jinja2", extra="report")
    from agscl.report import page

    sweeps = [SweepFolder(path) for path in arguments.runs if SweepFolder(path).record.exists()]
    others = [path for path in arguments.runs if not SweepFolder(path).record.exists()]
    reported = [folder.reported for folder in sweeps if folder.reported.is_dir()]
    records = [SweepRecord.read(folder) for folder in sweeps]
    write_bytes(arguments.out, page(read_runs([*reported, *others]), records))
    Output().say(f"report: {arguments.out}")
    return 0
