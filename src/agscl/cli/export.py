"""``agscl export``: the compact sub-network that serves one task or all."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .parser import Commands

DESCRIPTION = """Remove from a finished run's model every node that the logits of a task (or of all) do not depend on,
and write what is left: model.safetensors (plain tensors), model.pt2 (torch.export) and model.onnx, each with any batch
size and compared with the full model on the test data, and model.json, which describes them.
Needs pip install 'agscl[export]'."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("export", help="write the compact network of a task", description=DESCRIPTION)
    parser.add_argument("folder", metavar="RUN", type=Path, help="a run folder")
    parser.add_argument("--task", metavar="I", default="all", help="number of a task, from 0, or all (default: all)")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="new folder")
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: the platform's cache)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; imports what is heavy.

    Raises:
        ValueError: If an argument does not fit, or the run cannot be exported.
        OSError: If a file cannot be read or written.
    """
    from .exporting import export_run

    export_run(arguments.folder, arguments.task, arguments.out, arguments.data_root)
    return 0
