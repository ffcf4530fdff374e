"""``agscl figure``: the figures of the paper, from recorded runs or from runs that it makes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .run import add_scale

if TYPE_CHECKING:
    from .parser import Commands

DESCRIPTION = """Draw a figure of the paper from recorded runs, with the numbers that it shows as CSV beside it.
With --preset, the runs that it needs and that are not in --runs yet are made first.

  3         AOPC: pruning nodes by importance, after task 1 and after all tasks
  4, 5      average accuracy after each task, one panel for each preset
  6a        memory that each method takes
  6b        sparsity and used capacity, with and without re-initialisation
  6c        plasticity and stability over lambda, with ablations
  7         reinforcement learning: accumulated reward, plasticity and stability
  rho       ablation: share of the free nodes that is drawn anew
  proximal  ablation: proximal step every epoch, every step, or the penalty's gradient
  width     ablation: width of the network"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "figure",
        help="draw a figure of the paper",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("figure", metavar="FIGURE", help="which one, such as 4")
    parser.add_argument("recorded", metavar="RUN", nargs="*", type=Path, help="run folders, or folders that hold some")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the drawing: .svg, .png or .pdf (default: figure-FIGURE.svg)"
    )
    made = parser.add_argument_group("making the runs")
    made.add_argument("--preset", metavar="A,B,...", help="what to learn, such as cifar100,cifar10-100")
    made.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 to N-1 (default: 3)")
    made.add_argument(
        "--runs", type=Path, default=Path("runs/figures"), metavar="DIR", help="where they are (default: runs/figures)"
    )
    made.add_argument("--processes", type=int, metavar="N", help="runs at once (default: one for each core)")
    add_scale(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; imports what is heavy.

    Returns:
        0, or 1 if a run that the figure needs failed.

    Raises:
        ValueError: If an argument does not fit, or the runs do not make this figure.
        OSError: If a file cannot be read or written.
    """
    from .drawing import Asked, draw
    from .scale import scale_from

    return draw(
        Asked(
            figure=arguments.figure,
            recorded=arguments.recorded,
            out=arguments.out or Path(f"figure-{arguments.figure}.svg"),
            presets=arguments.preset.split(",") if arguments.preset is not None else [],
            seeds=arguments.seeds,
            runs=arguments.runs,
            processes=arguments.processes,
            scale=scale_from(arguments),
        )
    )
