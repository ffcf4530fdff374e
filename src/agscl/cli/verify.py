"""``agscl verify``: the certificate that a run's later tasks did not change its earlier ones."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .parser import Commands

DESCRIPTION = """Load every state that a finished run kept, answer all test examples of every task learned so far, and
compare the logits with those right after the task was learned, bit for bit. Writes certificate.json into the run
folder. Exit code 0: all are identical; 1: some drifted, and the report says how far and which nodes moved."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("verify", help="prove that old tasks did not change", description=DESCRIPTION)
    parser.add_argument("folder", metavar="RUN", type=Path, help="a run folder")
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: the platform's cache)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; imports what is heavy.

    Returns:
        0, or 1 if something drifted.

    Raises:
        ValueError: If the folder holds no finished run with its states.
        OSError: If a file cannot be read or written.
    """
    from .verifying import verify

    return verify(arguments.folder, arguments.data_root)
