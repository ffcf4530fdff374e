"""``agscl report``: runs as one HTML page."""

from __future__ import annotations

import argparse

from agscl.experiments.records import read_runs
from agscl.extras import require
from agscl.runs.files import write_bytes
from agscl.sweeps.folder import SweepFolder, reported_in
from agscl.sweeps.record import SweepRecord

from .console import Output


def run(arguments: argparse.Namespace) -> int:
    """Write the page; returns 0."""
    require("jinja2", extra="report")
    from agscl.report import page

    records = [SweepRecord.read(found) for path in arguments.runs if (found := SweepFolder(path)).record.exists()]
    write_bytes(arguments.out, page(read_runs(reported_in(arguments.runs)), records))
    Output().say(f"report: {arguments.out}")
    return 0
