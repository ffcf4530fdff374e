"""``agscl run``: learn a sequence of tasks with one method, or with all that the preset compares; show the results."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import fields
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from rich.table import Table

from agscl.benchmarks.own.source import OwnSource
from agscl.experiments import (
    Experiment,
    Overrides,
    PolicyResult,
    Result,
    choose,
    experiment_of,
    method_from_options,
)
from agscl.experiments import run as run_experiment
from agscl.experiments.fullness import fullness_of
from agscl.experiments.kind import AnyExperiment, AnyResult, scale_of
from agscl.experiments.kinds import Choice
from agscl.experiments.supervised.comparison import compare
from agscl.experiments.supervised.own import OwnData
from agscl.experiments.words import number, percent
from agscl.extras import MissingExtraError
from agscl.figures.summary import picture
from agscl.methods import AnyMethod
from agscl.runs import RunFolder
from agscl.runs.events import Logger
from agscl.runs.files import write_bytes
from agscl.runs.lock import LOCK, locked
from agscl.runs.machine import Compute
from agscl.sweeps.best import Best
from agscl.training import Event, Every, tensorboard
from agscl.training.tracking import Tracked, mlflow, weights_and_biases

from .arguments import OPTION
from .console import Output, table
from .progress import progress, reading
from .text import title

RUNS = Path("runs")
"""Where runs go without ``--out``."""


def run(arguments: argparse.Namespace) -> int:
    """Check everything, run each method, show and draw the results; returns 0.

    Raises:
        Stopped: If a signal asked for the end; what ran is saved then.
    """
    choice = choice_of(arguments.preset, arguments)
    experiments = experiments_of(choice, arguments)
    for option in ("tensorboard", "wandb", "mlflow"):
        if getattr(arguments, option) and not all(isinstance(experiment, Experiment) for experiment in experiments):
            raise ValueError(f"--{option} knows supervised presets alone: see events.jsonl in the run folder")
    folder = folder_for(arguments, choice.name)
    with held(folder, several=arguments.method is None):
        results = [_run(experiment, folder, arguments) for experiment in experiments]
        _show_all(results, folder)
    return 0


def _show_all(results: Sequence[AnyResult], folder: RunFolder) -> None:
    """Show and draw the results."""
    output = Output()
    show(output, results)
    where = f"run folder: {folder.path}"
    if supervised := [result for result in results if isinstance(result, Result)]:
        try:
            write_bytes(folder.picture, picture(supervised))
            where += f", picture: {folder.picture}"
        except MissingExtraError as missing:
            where += f" (no picture: {missing})"
    output.say(where)


def folder_for(arguments: argparse.Namespace, preset: str) -> RunFolder:
    """The folder of ``--out``, or a new one under ``runs``.

    Raises:
        ValueError: If it holds something, unless runs in it resume, or there is nothing to resume.
    """
    if arguments.resume and arguments.out is None:
        raise ValueError("--resume needs --out: the folder of what is to go on")
    if arguments.out is None:
        return _new_folder(RUNS / f"{file_name(preset)}-{datetime.now().astimezone():%Y%m%d-%H%M%S}")
    folder = RunFolder(arguments.out)
    if not arguments.resume:
        folder.require_free()
    return folder


def _new_folder(path: Path) -> RunFolder:
    """A folder that no other process has: of several that begin in one second, later ones get a number behind."""
    for place in count(1):
        new = path if place == 1 else path.with_name(f"{path.name}-{place}")
        with suppress(FileExistsError):
            new.mkdir(parents=True)
            return RunFolder(new)
    raise AssertionError("numbers do not end")


@contextmanager
def held(folder: RunFolder, *, several: bool = True) -> Iterator[None]:
    """Hold a folder of several runs within the context; if nothing came of it, it is removed.

    Args:
        folder: The folder.
        several: Whether it holds several runs; one holds its folder itself.

    Raises:
        ValueError: If another process holds it.
    """
    with ExitStack() as stack:
        stack.callback(_remove_if_empty, folder.path)
        if several:
            folder.path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder.path))
        yield


def _remove_if_empty(path: Path) -> None:
    if path.is_dir() and {inside.name for inside in path.iterdir()} <= {LOCK}:
        with suppress(OSError):
            (path / LOCK).unlink(missing_ok=True)
            path.rmdir()
            if path.parent == RUNS:
                RUNS.rmdir()


def file_name(name: str) -> str:
    """A name that is good for a folder, of any name.

    >>> file_name("my photos/2024")
    'my-photos-2024'
    """
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"


def require_no_data(path: Path, choices: Sequence[Choice]) -> None:
    """Refuse, with a `ValueError`, to write over own data that is being learned."""
    for choice in choices:
        if isinstance(choice.asked, OwnData):
            source = OwnSource.parse(choice.asked.source)
            if source.kind != "set" and path.resolve() == Path(source.place).resolve():
                raise ValueError(f"{path} is the data itself: choose another file to write")


def overrides_from(arguments: argparse.Namespace) -> Overrides:
    """What the options change about a preset: they have the names of its fields."""
    given: dict[str, Any] = vars(arguments)
    compute = Compute(**{field.name: given[field.name] for field in fields(Compute)})
    changes = {field.name: given[field.name] for field in fields(Overrides) if field.name in given}
    return Overrides(**changes, compute=compute)


def choice_of(name: str, arguments: argparse.Namespace) -> Choice:
    """What is to be learned; one line on stderr says what was found in own data."""
    with reading() as report:
        choice = choose(name, overrides_from(arguments), arguments.data_root, report)
    if choice.found:
        Output(stderr=True).say(choice.found)
    return choice


def method_options_in(arguments: argparse.Namespace) -> dict[str, str]:
    """Hyper-parameters on the command line, by name."""
    prefix = OPTION.removeprefix("--")
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    return {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}


def tuned_by(arguments: argparse.Namespace) -> Best | None:
    """The values of the file that ``--tuned`` names, if it is there."""
    return None if arguments.tuned is None else Best.read(arguments.tuned)


def experiments_with(
    choice: Choice, methods: Iterable[AnyMethod], seeds: Collection[int], overrides: Overrides, tuned: Best | None
) -> list[AnyExperiment]:
    """Every method with every seed, those that a sweep chose among them; raises as `Best.experiments` does."""
    if tuned is not None:
        return tuned.experiments(choice.asked, methods, seeds, overrides)
    return [experiment_of(choice.asked, method, seed, overrides) for method in methods for seed in seeds]


def experiments_of(choice: Choice, arguments: argparse.Namespace) -> list[AnyExperiment]:
    """The experiments that the command runs, one a method."""
    options, preset, tuned = method_options_in(arguments), choice.preset, tuned_by(arguments)
    known = {**preset.tuned, **(tuned.methods if tuned else {})}
    methods = [known[name] for name in (tuned.methods if tuned else preset.methods)]
    if arguments.method is not None:
        if tuned and arguments.method not in tuned.methods:
            raise ValueError(f"{arguments.tuned} has no values of {arguments.method!r}: {', '.join(tuned.methods)}")
        methods = [method_from_options(arguments.method, options, known)]
    elif options:
        raise ValueError(f"option {next(iter(options))!r} belongs to a method: name it with --method")
    return experiments_with(choice, methods, [arguments.seed], overrides_from(arguments), tuned)


def _run(experiment: AnyExperiment, folder: RunFolder, arguments: argparse.Namespace) -> AnyResult:
    """Run one method: in the folder itself if it is the only one, or else in a folder inside."""
    name = experiment.method_name
    own_folder = folder if arguments.method else RunFolder(folder.path / name)
    with ExitStack() as stack:
        loggers: list[Any] = [stack.enter_context(progress(Output(stderr=True), name))]
        loggers += [stack.enter_context(tracker) for tracker in _trackers(experiment, own_folder, arguments)]
        return run_experiment(
            experiment,
            own_folder,
            loggers,
            data_root=arguments.data_root,
            resume=arguments.resume,
            every=Every(arguments.checkpoint_seconds, arguments.checkpoint_steps),
        )


def _trackers(
    experiment: AnyExperiment, folder: RunFolder, arguments: argparse.Namespace
) -> Iterator[AbstractContextManager[Logger[Event]]]:
    """The trackers of experiments that the options ask for."""
    tracked = Tracked(
        group=experiment.preset,
        name=f"{experiment.preset} {experiment.method_name} seed {experiment.seed}",
        folder=folder.path,
        config=json.loads(experiment.to_json()),
    )
    if arguments.tensorboard:
        yield tensorboard(folder.tensorboard)
    if arguments.wandb:
        yield weights_and_biases(arguments.wandb, tracked)
    if arguments.mlflow:
        yield mlflow(arguments.mlflow, tracked)


def show(output: Output, results: Sequence[AnyResult]) -> None:
    """Show one run of each method: of data sets, the measures and each task; of policies, the scores."""
    experiment = results[0].experiment
    heading = f"{experiment.preset}, seed {experiment.seed} (one run of each method)"
    for line in ("", heading, scale_of(results), ""):
        output.say(line)
    if supervised := [result for result in results if isinstance(result, Result)]:
        for matrix in map(_matrix, supervised):
            if output.columns_of(matrix) <= output.width:
                output.show(matrix)
        compared = compare(supervised)
        rows = [
            [title(name), *(number(measures[name], 3) for measures in compared.values())]
            for name in next(iter(compared.values()))
        ]
        output.show(table(["", *compared], rows, title="measures (fractions of 1)"))
        for result in supervised:
            output.show(_tasks(result))
    policies = [result for result in results if isinstance(result, PolicyResult)]
    for scored in policies:
        output.show(_scores(scored))
    resumed = [place for result in policies for place in result.history.resumed]
    for line in (*(f"resumed in task {place.task + 1}, with new episodes" for place in resumed), *fullness_of(results)):
        output.say(line)


def _matrix(result: Result) -> Table:
    tasks = result.history.tasks
    numbers = [str(position) for position in range(1, len(tasks) + 1)]
    rows = [
        [name, *map(percent, task.accuracy), *[""] * (len(tasks) - len(task.accuracy))]
        for name, task in zip(numbers, tasks, strict=True)
    ]
    return table(["after", *numbers], rows, title=f"{result.method}: accuracy (%) on each task", left=0)


def _tasks(result: Result) -> Table:
    """Accuracy on each task, and the nodes right after it."""
    tasks = result.history.tasks
    rows = [
        [
            f"{position}  {task.name}",
            *map(percent, (task.accuracy[-1], last, task.sparsity, task.used_capacity)),
            str(task.epochs),
        ]
        for position, (task, last) in enumerate(zip(tasks, tasks[-1].accuracy, strict=True), 1)
    ]
    heads = ["task", "learned", "at the end", title("sparsity"), title("used_capacity"), "epochs"]
    return table(heads, rows, title=f"{result.method}: tasks (%)", whole=True)


def _scores(result: PolicyResult) -> Table:
    rows = [["(random actions)", *map(number, result.history.random_scores)]]
    for position, (name, scores) in enumerate(zip(result.names, result.scores(), strict=True), 1):
        rows.append([f"{position}  {name}", *map(number, scores)])
    heads = ["after learning", *result.names]
    return table(heads, rows, title=f"{result.method}: mean score of an episode on each task")
