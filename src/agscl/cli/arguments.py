"""The command line: every command with its options. Nothing heavy is imported, so that ``--help`` comes at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from .text import printable

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction["Parser"]

OPTION = "--method."
"""What the name of a method's hyper-parameter starts with on the command line."""

AS_TYPED = argparse.RawDescriptionHelpFormatter
"""Shows a description with its own lines."""


class Parser(argparse.ArgumentParser):
    """An argument parser that takes options by their whole names, and reports an error in one line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2 and one line on stderr."""
        sys.stderr.write(f"{self.prog}: error: {printable(message)} (see {self.prog} --help)\n")
        raise SystemExit(2)


def parser_for(given: Sequence[str]) -> Parser:
    """The parser of a command line; it names the module of the command as ``command``.

    Args:
        given: The whole command line, which says what hyper-parameters to expect.
    """
    parser = Parser(prog="agscl", description="Continual learning without forgetting: experiments and tools.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    _add_run(commands, given)
    _add_runs(commands)
    _add_compare(commands, given)
    _add_sweep(commands, given)
    listed = commands.add_parser(
        "list", help="list presets and methods", description="List the presets, and the methods with their options."
    )
    _add_json(listed)
    completion = commands.add_parser(
        "completion",
        help="print a script for the shell",
        description="Print what lets a shell complete commands, options and names: source <(agscl completion bash)",
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="which shell")
    _add_data(commands)
    _add_figure(commands)
    _add_reproduce(commands)
    _add_uses_of_runs(commands)
    return parser


def subcommands(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """The parsers of a command's parts by name."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: part for group in groups for name, part in group.choices.items()}


def _add_json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="write JSON, for other programs, and nothing else")


class _Version(argparse.Action):
    """Finds the version when it is wanted, and not before."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from agscl import __version__

        sys.stdout.write(f"agscl {__version__}\n")
        parser.exit()


def _add_run(commands: Commands, given: Sequence[str]) -> None:
    description = """Learn a preset's tasks one after the other and write a run folder; or the tasks of own data:
folder:PATH (a folder for each class of images, perhaps in train, val and test), npz:FILE, csv:FILE (columns path and
label), or the name of an imported set, with --tasks N or --task-file FILE.
Without --method, every method that the preset compares runs in turn, each into a folder of its own.
Presets, methods and their options: agscl list"""
    parser = commands.add_parser(
        "run", help="learn a sequence of tasks", description=description, formatter_class=AS_TYPED
    )
    parser.add_argument("preset", metavar="PRESET", help="what to learn, such as digits or folder:photos")
    parser.add_argument("--method", metavar="METHOD", help="one method only, such as ags-cl")
    _add_tuned(parser)
    _add_overrides(parser)
    parser.add_argument(
        "--cpr", type=float, default=0.0, metavar="BETA", help="add CPR's entropy term to the method (default: 0)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="draws everything random (default: 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="new folder (default: runs/PRESET-TIME)")
    parser.add_argument("--tensorboard", action="store_true", help="log curves to DIR/tensorboard as well")
    parser.add_argument("--wandb", metavar="PROJECT", help="log curves to Weights & Biases as well")
    parser.add_argument("--mlflow", metavar="URI", help="log curves to MLflow as well: a server, or a folder")
    saved = parser.add_argument_group("checkpoints")
    saved.add_argument("--resume", action="store_true", help="go on where the run in --out stopped, or begin it")
    saved.add_argument(
        "--checkpoint-seconds", type=float, default=60.0, metavar="S", help="time between checkpoints (default: 60)"
    )
    saved.add_argument("--checkpoint-steps", type=int, metavar="N", help="and at most N steps (default: any)")
    _add_own_data(parser)
    _add_method_options(parser, given, f"such as {OPTION}lam 400")


def _add_method_options(parser: Parser, given: Sequence[str], example: str) -> None:
    """Hyper-parameters: any that the command line has."""
    described = parser.add_argument_group("options of the method")
    described.add_argument(f"{OPTION}NAME", metavar="VALUE", help=example)
    for flag in sorted({word.partition("=")[0] for word in given if word.startswith(OPTION)}):
        parser.add_argument(flag, help=argparse.SUPPRESS)


def _add_own_data(parser: Parser) -> None:
    own = parser.add_argument_group("own data")
    own.add_argument("--task-file", metavar="FILE", help="JSON: for each task a list of names of classes, in order")
    own.add_argument("--network", metavar="NAME", help="mlp, convnet, resnet18, torchvision:NAME, timm:NAME, ...")
    own.add_argument("--image-size", type=int, metavar="PIXELS", help="side to which images are scaled (default: 64)")
    own.add_argument("--augment", action="store_true", help="shift and mirror training images at random")
    own.add_argument("--batch-size", type=int, metavar="N", help="examples in a training batch (default: 32)")
    own.add_argument("--learning-rate", type=float, metavar="RATE", help="at the start of a task (default: 0.001)")


def _add_runs(commands: Commands) -> None:
    description = "List the runs in folders: configuration, status and measures."
    parser = commands.add_parser("runs", help="list recorded runs", description=description)
    parser.add_argument("folders", metavar="DIR", nargs="*", type=Path, help="where to look (default: runs)")
    parser.add_argument("--preset", metavar="NAME", help="only runs of this preset")
    parser.add_argument("--method", metavar="NAME", help="only runs of this method")
    parser.add_argument("--seed", type=int, metavar="N", help="only runs with this seed")
    parser.add_argument("--status", choices=("complete", "incomplete", "unreadable"), help="only such runs")
    parser.add_argument("--sort", default="run", metavar="COLUMN", help="such as average_accuracy, the highest first")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table, too: .csv, .md or .tex")
    _add_json(parser)


def _add_compare(commands: Commands, given: Sequence[str]) -> None:
    description = """With a PRESET: run methods over several seeds, in parallel, one thread each, and print one table:
the mean over the seeds with its 95 % confidence interval. Every run is kept in a folder of its own.
With RUN folders: the same table of recorded runs, and each method tested against a baseline on the same seeds."""
    parser = commands.add_parser("compare", help="compare methods over several seeds", description=description)
    parser.add_argument(
        "what",
        metavar="PRESET_OR_RUN",
        nargs="+",
        help="what to learn, such as digits or folder:photos; or run folders, or folders of them",
    )
    parser.add_argument("--methods", metavar="A,B,...", help="which methods (default: all that the preset has tuned)")
    _add_tuned(parser)
    _add_many(parser)
    _add_overrides(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="new folder (default: runs/PRESET-TIME)")
    parser.add_argument("--resume", action="store_true", help="go on where the runs in --out stopped")
    _add_own_data(parser)
    _add_method_options(parser, given, f"of the one method that has it, or {OPTION}ewc.lam 1e3 of one of several")
    shown = parser.add_argument_group("the table")
    shown.add_argument("--statistic", choices=("mean", "iqm"), default="mean", help="mean, or interquartile mean")
    shown.add_argument("--baseline", metavar="METHOD", help="test the others against it on the same seeds")
    shown.add_argument("--export", type=Path, metavar="FILE", help="write the table, too: .csv, .md or .tex")
    _add_json(parser)


def _add_sweep(commands: Commands, given: Sequence[str]) -> None:
    description = """Search the values of every method by the same rule, then report the chosen ones on other seeds.
Every method gets the same number of trials and the same epochs; values are chosen by accuracy on validation examples,
never on test examples, and no seed or order of classes that is reported was tuned on. Protocols:
  first-task      values are chosen on the first K tasks, in other orders (--tune-tasks K)
  transfer        on another benchmark (--tune-on PRESET), or on the same in other orders
  whole-sequence  on all tasks: the field's habit, optimistic
What is searched of each method: agscl list. Needs pip install 'agscl[sweep]'."""
    parser = commands.add_parser(
        "sweep", help="search every method's values fairly", description=description, formatter_class=AS_TYPED
    )
    parser.add_argument("preset", metavar="PRESET", help="what to learn, such as digits or folder:photos")
    parser.add_argument("--methods", metavar="A,B,...", help="which methods (default: all that the preset has tuned)")
    parser.add_argument("--trials", type=int, default=12, metavar="N", help="sets of values a method (default: 12)")
    parser.add_argument(
        "--protocol", default="first-task", metavar="NAME", help="on what values are chosen (default: first-task)"
    )
    parser.add_argument("--tune-tasks", type=int, metavar="K", help="tasks of first-task (default: 3)")
    parser.add_argument("--tune-on", metavar="PRESET", help="the benchmark of transfer")
    parser.add_argument("--tune-seeds", type=int, default=2, metavar="N", help="seeds of a trial (default: 2)")
    parser.add_argument("--report-seeds", type=int, default=5, metavar="N", help="seeds 0 to N-1 (default: 5)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="draws what is tried (default: 0)")
    _add_engine(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="new folder (default: runs/PRESET-TIME)")
    parser.add_argument("--resume", action="store_true", help="go on where the sweep in --out stopped")
    _add_overrides(parser)
    _add_own_data(parser)
    _add_method_options(parser, given, f"not searched but given: {OPTION}rho 0.3, or {OPTION}ewc.online true")
    _add_json(parser)


def _add_tuned(parser: Parser) -> None:
    parser.add_argument("--tuned", type=Path, metavar="FILE", help="values that a sweep chose, its best.json")


def _add_data(commands: Commands) -> None:
    description = "Download or import data sets into one folder, list them, check them."
    data = commands.add_parser("data", help="get and check data sets", description=description)
    parts = data.add_subparsers(metavar="WHAT", dest="part", required=True)

    def part(name: str, purpose: str, *, of_one: bool = False) -> Parser:
        parser = parts.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
        if of_one:
            parser.add_argument("name", metavar="NAME", help="a data set of `agscl data list`, or of yours")
        _add_data_root(parser)
        return parser

    _add_json(part("list", "list the data sets, and which of them are here"))
    part("download", "download a data set through torchvision", of_one=True)
    imported = part("import", "import a data set from files that you have", of_one=True)
    part("verify", "compare a data set with its checksums", of_one=True)
    part("remove", "remove a data set from the folder", of_one=True)
    part("where", "print the folder that holds the data sets")
    imported.add_argument(
        "--from",
        dest="path",
        metavar="PATH",
        type=Path,
        required=True,
        help="torchvision's folder, the original archive or folder, a tree of image folders, an .npz or .csv file",
    )
    imported.add_argument("--size", type=int, metavar="PIXELS", help="side of stored images (cub200, own images)")
    imported.add_argument("--replace", action="store_true", help="put it in the place of another set of that name")
    imported.add_argument(
        "--checksum",
        action="append",
        default=[],
        metavar="DIGEST",
        help="md5 or sha256 of an archive or pickle that you trust; pickles that are not known need it",
    )


def _add_figure(commands: Commands) -> None:
    description = """Draw a figure of the paper from recorded runs, with the numbers that it shows as CSV beside it.
With --preset, the runs that it needs and that are not in --runs yet are made first.

  3         AOPC: pruning nodes by importance, after task 1 and after all tasks
  4, 5      average accuracy after each task, one panel for each preset
  6a        memory that each method takes
  6b        sparsity and used capacity, with and without re-initialisation
  6c        plasticity and stability over lambda, with ablations
  7         reinforcement learning: accumulated reward, plasticity and stability
  nodes     how nodes fill up, task after task
  rho       ablation: share of the free nodes that is re-initialised
  proximal  ablation: proximal step every epoch, every step, or the penalty's gradient
  width     ablation: width of the network"""
    parser = commands.add_parser(
        "figure", help="draw a figure of the paper", description=description, formatter_class=AS_TYPED
    )
    parser.add_argument("figure", metavar="FIGURE", help="which one, such as 4")
    parser.add_argument("recorded", metavar="RUN", nargs="*", type=Path, help="run folders, or folders that hold some")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the drawing: .svg, .png or .pdf (default: figure-FIGURE.svg)"
    )
    parser.add_argument("--no-bands", action="store_true", help="draw no intervals; the CSV still has them")
    parser.add_argument("--bare", action="store_true", help="draw no title and no small print, as for a paper")
    made = parser.add_argument_group("making the runs")
    made.add_argument(
        "--preset", metavar="A,B,...", help="what to learn, such as cifar100,cifar10-100 or folder:photos"
    )
    made.add_argument(
        "--runs", type=Path, default=Path("runs/figures"), metavar="DIR", help="where they are (default: runs/figures)"
    )
    _add_many(made)
    _add_overrides(parser)
    _add_own_data(parser)


def _add_uses_of_runs(commands: Commands) -> None:
    """What is made of finished runs: a page, a certificate, a compact network."""
    description = """Write one HTML page on one or more runs: measures with intervals, accuracy matrices, forgetting,
node maps, costs, and what it takes to repeat each run. The page needs no network and no other file."""
    parser = commands.add_parser("report", help="show runs as one HTML page", description=description)
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", type=Path, help="run folders, or folders that hold some; sweeps"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the page, such as report.html")

    description = """Write the tables of a Markdown file anew from the runs that it names: each stands between the lines
'<!-- runs: FOLDER... -->', with folders relative to the file, and '<!-- end of runs -->'. All other text stays."""
    parser = commands.add_parser("tables", help="write a Markdown file's tables from runs", description=description)
    parser.add_argument("file", metavar="FILE", type=Path, help="such as results/README.md")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the file is not up to date")

    description = """Load every state that a finished run kept, answer all test examples of every task learned so far,
and compare the logits with those right after the task was learned, bit for bit. Writes certificate.json into the run
folder. Exit code 0: all are identical; 1: some drifted, and the report says how far and which nodes moved."""
    parser = commands.add_parser("verify", help="prove that old tasks did not change", description=description)
    parser.add_argument("folder", metavar="RUN", type=Path, help="a run folder")
    _add_json(parser)
    _add_data_root(parser)

    description = """Remove from a finished run's model every node that the logits of a task (or of all) do not depend
on, and write what is left: model.safetensors (plain tensors), model.pt2 (torch.export) and model.onnx, each with any
batch size and compared with the full model on the test data, and model.json, which describes them.
Needs pip install 'agscl[export]'."""
    parser = commands.add_parser("export", help="write the compact network of a task", description=description)
    parser.add_argument("folder", metavar="RUN", type=Path, help="a run folder")
    parser.add_argument("--task", metavar="I", default="all", help="number of a task, from 0, or all (default: all)")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="new folder")
    _add_data_root(parser)


def _add_reproduce(commands: Commands) -> None:
    description = """Do the runs of a plan, the most telling first, as many as there is time for; what is finished is
left alone, what was begun goes on. --list shows the plans, or what of PLAN is done, running, missing."""
    parser = commands.add_parser(
        "reproduce", help="do the runs of a plan, such as paper-cifar100", description=description
    )
    parser.add_argument("plan", metavar="PLAN", nargs="?", help="such as paper-cifar100 or digits")
    parser.add_argument("--list", action="store_true", help="do nothing, show the plans, or the runs of PLAN")
    parser.add_argument("--budget", metavar="TIME", help="stop after it, such as 8m or 2h; runs at work are saved")
    parser.add_argument("--seeds", type=int, metavar="N", help="only seeds 0 to N-1 (default: all of the plan)")
    parser.add_argument("--methods", metavar="A,B,...", help="only these methods (default: all)")
    parser.add_argument("--epochs", type=int, metavar="N", help="most epochs for each task (default: the preset's)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--precision", default="fp32", metavar="NAME", help="fp32 (default), bf16, fp16, auto")
    parser.add_argument(
        "--out", type=Path, default=Path("results/reproduced"), metavar="DIR", help="default: results/reproduced"
    )
    _add_engine(parser)
    _add_data_root(parser)
    _add_json(parser)


def _add_engine(parser: Parser) -> None:
    """What does the runs of a sweep or a plan."""
    engine = parser.add_argument_group("what does the runs")
    engine.add_argument("--engine", default="local", metavar="NAME", help="local (default) or ray")
    engine.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="runs at once (default: one for each core, or all that fit on the cluster)",
    )
    engine.add_argument("--address", metavar="ADDRESS", help="of a Ray cluster, or auto (default: one of this machine)")
    engine.add_argument("--trial-cpus", type=float, metavar="N", help="Ray: cores for each run (default: 1)")
    engine.add_argument(
        "--trial-gpus", type=float, metavar="N", help="Ray: cards for each run, such as 0.25 (default: 0)"
    )


def _add_many(parser: argparse._ActionsContainer) -> None:
    """Options of a command that makes many runs."""
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 to N-1 (default: 3)")
    parser.add_argument("--processes", type=int, metavar="N", help="runs at once (default: one for each core)")


def _add_overrides(parser: Parser) -> None:
    """Options that change a preset (`agscl.experiments.Overrides`), and the one that says where its data is."""
    parser.add_argument("--epochs", type=int, metavar="N", help="most epochs for each task")
    parser.add_argument(
        "--tasks", type=int, metavar="N", help="only the first N tasks; of own data: N tasks of equal size"
    )
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
        "--test-seed",
        type=int,
        metavar="N",
        help="draws the test examples, where the data has none (default: the seed)",
    )
    parser.add_argument("--order-seed", type=int, metavar="N", help="draws the order of the tasks anew")
    _add_data_root(parser)
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


def _add_data_root(parser: Parser) -> None:
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: the platform's cache)"
    )
