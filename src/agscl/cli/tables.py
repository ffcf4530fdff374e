"""``agscl tables``: the tables of a Markdown file, from recorded runs."""

from __future__ import annotations

import argparse

from agscl.experiments.markdown import with_tables
from agscl.runs.files import write_bytes

from .console import Output


def run(arguments: argparse.Namespace) -> int:
    """Write the file anew, or check it.

    Returns:
        0, or 1 if it was to be checked and is not up to date.
    """
    text = arguments.file.read_text(encoding="utf-8")
    written = with_tables(text, arguments.file.parent)
    if not arguments.check:
        write_bytes(arguments.file, written.encode())
        Output().say(f"tables: {arguments.file}")
    elif written != text:
        Output().say(f"{arguments.file} is not up to date: run agscl tables {arguments.file}")
    return int(arguments.check and written != text)
