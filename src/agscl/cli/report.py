"""``agscl report``: runs as one HTML page."""

from __future__ import annotations

import argparse

from agscl.experiments.records import read_runs
from agscl.extras import require
from agscl.runs.files import write_bytes

from .console import Output


def run(arguments: argparse.Namespace) -> int:
    """Write the page; returns 0."""
    require("jinja2", extra="report")
    from agscl.report import page

    write_bytes(arguments.out, page(read_runs(arguments.runs)))
    Output().say(f"report: {arguments.out}")
    return 0
