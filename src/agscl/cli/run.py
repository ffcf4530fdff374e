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
    parser.add_argument("--tensorboard", action="store_true", help="log curves to DIR/tensorboard as well")
    _add_checkpoints(parser)
    described = parser.add_argument_group("options of the method")
    described.add_argument(f"{OPTION}NAME", metavar="VALUE", help=f"such as {OPTION}lam 400")
    for flag in sorted({word.partition("=")[0] for word in given if word.startswith(OPTION)}):
        parser.add_argument(flag, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def add_scale(parser: Parser) -> None:
    """Add the options that scale a preset down, and the one that says where its data is."""
    parser.add_argument("--epochs", type=int, metavar="N", help="most epochs for each task")
    parser.add_argument("--tasks", type=int, metavar="N", help="only the first N tasks")
    parser.add_argument("--steps", type=int, metavar="N", help="agent steps for each task (reinforcement learning)")
    parser.add_argument(
        "--fraction", type=float, default=1.0, metavar="F", help="share of the training examples (default: 1)"
    )
    parser.add_argument(
        "--width",
        type=float,
        default=1.0,
        metavar="F",
        help="what the network's widths are multiplied with (default: 1)",
    )
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: the platform's cache)"
    )
    machine = parser.add_argument_group("the machine")
    machine.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps")
    machine.add_argument("--precision", default="auto", metavar="NAME", help="auto, fp32, bf16, fp16")
    machine.add_argument("--channels-last", default="auto", metavar="WHEN", help="auto, on, off: layout of images")
    machine.add_argument("--live", action="store_true", help="leave dead nodes out, spare frozen ones: faster")
    machine.add_argument("--compile", action="store_true", help="compile the network: a slow start, faster steps")
    parser.add_argument(
        "--on-divergence",
        default="stop",
        metavar="WHAT",
        help="when a loss or weight is not finite: stop, or restore the epoch's start with a lower learning rate",
    )


def _add_checkpoints(parser: Parser) -> None:
    group = parser.add_argument_group("checkpoints")
    group.add_argument("--resume", action="store_true", help="go on where the run in --out stopped, or begin it")
    group.add_argument(
        "--checkpoint-seconds", type=float, default=60.0, metavar="S", help="time between checkpoints (default: 60)"
    )
    group.add_argument("--checkpoint-steps", type=int, metavar="N", help="and at most so many steps (default: any)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code; imports what is heavy.

    Raises:
        ValueError: If an argument does not fit.
        OSError: If the folder cannot be written.
    """
    from agscl.training import Every

    from .request import Request
    from .scale import scale_from
    from .session import start

    prefix = OPTION.removeprefix("--")
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    options = {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}
    request = Request(
        preset=arguments.preset,
        method=arguments.method,
        options=options,
        seed=arguments.seed,
        out=arguments.out,
        scale=scale_from(arguments),
        cpr=arguments.cpr,
        resume=arguments.resume,
        every=Every(arguments.checkpoint_seconds, arguments.checkpoint_steps),
        tensorboard=arguments.tensorboard,
    )
    start(request)
    return 0
