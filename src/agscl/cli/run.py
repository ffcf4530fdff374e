"""``agscl run``: learn a sequence of tasks with one method, or with all that the preset compares."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .parser import Commands, Parser

OPTION = "--method."
"""What the name of a method's hyper-parameter starts with on the command line."""

DESCRIPTION = """Learn a preset's tasks one after the other and write a run folder.
Without --method, every method that the preset compares runs in turn, each into a folder of its own.
Presets, methods and their options: agscl list"""


def add_parser(commands: Commands, given: Sequence[str]) -> None:
    """Add the command.

    Args:
        commands: Where it is added.
        given: The whole command line, which says what hyper-parameters to expect.
    """
    parser = commands.add_parser(
        "run",
        help="learn a sequence of tasks",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("preset", metavar="PRESET", help="what to learn, such as digits")
    parser.add_argument("--method", metavar="METHOD", help="one method only, such as ags-cl")
    add_scale(parser)
    parser.add_argument(
        "--cpr", type=float, default=0.0, metavar="BETA", help="add CPR's entropy term to the method (default: 0)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="draws everything random (default: 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="new folder (default: runs/PRESET-TIME)")
    described = parser.add_argument_group("options of the method")
    described.add_argument(f"{OPTION}NAME", metavar="VALUE", help=f"such as {OPTION}lam 400")
    for flag in sorted({word.partition("=")[0] for word in given if word.startswith(OPTION)}):
        parser.add_argument(flag, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def add_scale(parser: Parser) -> None:
    """Add the options that scale a preset down, and the one that says where its data is."""
    parser.add_argument("--epochs", type=int, metavar="N", help="most epochs for each task")
    parser.add_argument("--tasks", type=int, metavar="N", help="only the first N tasks")
    parser.add_argument(
        "--fraction", type=float, default=1.0, metavar="F", help="share of the training examples (default: 1)"
    )
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: the platform's cache)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code; imports what is heavy.

    Raises:
        ValueError: If an argument does not fit.
        OSError: If the folder cannot be written.
    """
    from .scale import Scale
    from .session import Request, start

    prefix = OPTION.removeprefix("--")
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    options = {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}
    scale = Scale(arguments.epochs, arguments.tasks, arguments.fraction, arguments.data_root)
    start(Request(arguments.preset, arguments.method, options, arguments.seed, arguments.out, scale, arguments.cpr))
    return 0
