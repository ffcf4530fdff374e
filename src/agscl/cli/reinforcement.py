"""``agscl run`` for presets of reinforcement learning: check everything, run each method, show the scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import isnan
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from agscl.experiments import name_of
from agscl.experiments.groups import Group, by_seed, groups
from agscl.experiments.policies.comparison import REFERENCE, not_measured, summary
from agscl.experiments.policies.experiment import PolicyExperiment
from agscl.experiments.policies.presets import policy_preset
from agscl.experiments.policies.result import PolicyResult
from agscl.experiments.policies.run import run_policies
from agscl.methods import AnyMethod
from agscl.metrics.interval import Range
from agscl.rl.history import Evaluation, PolicyEvent, PolicyTaskFinished, PolicyTaskStarted, Updated
from agscl.runs import RunFolder
from agscl.runs.events import Logger
from agscl.runs.export import export

from .comparison import View
from .progress import bars
from .request import Request, asked_methods
from .scale import Scale
from .tables import NOTHING, plain_table, show_table

if TYPE_CHECKING:
    from polars import DataFrame


def start(request: Request, folder: RunFolder) -> None:
    """Run what was asked for, and show it.

    Args:
        request: What was asked for.
        folder: Of the run, or of the runs of several methods.

    Raises:
        ValueError: If something in the request is unknown, out of range, or not for reinforcement learning.
        Stopped: If a signal asked for the end; what ran is saved then.
        OSError: If the run folder cannot be written.
    """
    experiments = [_experiment(request, method) for method in asked_methods(request, policy_preset(request.preset))]
    results = [_run(experiment, folder, request) for experiment in experiments]
    console = Console()
    show(console, results)
    console.print(f"run folder: {folder.path}", highlight=False, soft_wrap=True)


def experiment_of(preset: str, method: AnyMethod, seed: int, scale: Scale) -> PolicyExperiment:
    """A preset with a method, scaled.

    Raises:
        ValueError: If something is out of range or not for reinforcement learning.
    """
    if scale.epochs is not None or scale.fraction != 1 or scale.width != 1:
        raise ValueError(
            "--epochs, --fraction and --width are for data sets; reinforcement learning is scaled with --steps"
        )
    training = policy_preset(preset).training
    training = training if scale.steps is None else replace(training, steps=scale.steps)
    return PolicyExperiment(
        preset=preset, method=method, training=training, seed=seed, tasks=scale.tasks, compute=scale.compute
    )


def show(console: Console, results: Sequence[PolicyResult]) -> None:
    """Show the scores on each task after learning each task."""
    experiment = results[0].experiment
    console.print(f"\n{experiment.preset}, seed {experiment.seed} (one run of each method)", highlight=False)
    console.print(f"{scale_of(results[0])}\n", highlight=False)
    for result in results:
        console.print(_scores(result))
        for place in result.history.resumed:
            console.print(f"taken up again in task {place.task + 1}, with new episodes", highlight=False)


def require_suited(view: View) -> None:
    """Refuse a table that is made for data sets alone.

    Raises:
        ValueError: If the view is such a one.
    """
    if view.statistic != "mean" or view.baseline is not None:
        raise ValueError("--statistic and --baseline are for data sets; policies are compared by their means")


def compare(console: Console, results: Sequence[PolicyResult], view: View) -> None:
    """Show runs side by side, and write the table where the view says: means with their bootstrap intervals.

    Raises:
        ValueError: If there is no run of fine-tuning, or runs differ in more than method and seed.
        OSError: If the file cannot be written.
    """
    require_suited(view)
    preset = results[0].experiment.preset
    if not by_seed(results, REFERENCE):
        raise ValueError(f"scores are relative to {REFERENCE}: add its runs (agscl run {preset} --method {REFERENCE})")
    rows = summary(results)
    names = list(dict.fromkeys(name for measures in rows.values() for name in measures))
    heads = ["method", "seeds", *(name.replace("_", " ") for name in names)]
    groups = groups(results)
    cells = [
        [group.label, str(len(group.seeds)), *(_range(rows[group.label].get(name)) for name in names)]
        for group in groups
    ]
    table = plain_table(heads, cells, left=1)
    table.title = f"{preset}: random actions 0, {REFERENCE} 1; mean [95 % bootstrap interval]"
    show_table(console, table)
    seeds = sorted({seed for group in groups for seed in group.seeds})
    for line in (f"{scale_of(results[0])}; seeds {', '.join(map(str, seeds))}", *not_measured(results)):
        console.print(line, highlight=False, soft_wrap=True)
    if view.export is not None:
        export(view.export, _numbers(groups, rows), heads, cells)


def _numbers(groups: Sequence[Group[PolicyResult]], rows: Mapping[str, Mapping[str, Range]]) -> DataFrame:
    """All digits: mean and ends of its interval for each measure."""
    import polars

    return polars.DataFrame([_record(group, rows[group.label]) for group in groups], infer_schema_length=None)


def _record(group: Group[PolicyResult], measures: Mapping[str, Range]) -> dict[str, object]:
    record: dict[str, object] = {"method": group.label, "seeds": " ".join(map(str, group.seeds))}
    for name, (value, low, high) in measures.items():
        record |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return record


def _range(found: Range | None) -> str:
    if found is None or isnan(found.value):
        return NOTHING
    return f"{found.value:.2f}" + ("" if isnan(found.low) else f" [{found.low:.2f}, {found.high:.2f}]")


def scale_of(result: PolicyResult) -> str:
    """How much of the preset was run, in words."""
    scale, training = result.scale(), result.experiment.training
    steps = f"{training.steps_per_task:,} agent steps a task"
    frames = f" ({scale['frames_per_step']} frames each)" if scale["frames_per_step"] != 1 else ""
    if not scale["scaled_down"]:
        return f"the preset in full: {steps}{frames}"
    return f"scaled down: {scale['tasks']} tasks, {steps}{frames} instead of {scale['steps_in_full']:,}"


def _experiment(request: Request, method: AnyMethod) -> PolicyExperiment:
    if request.cpr:
        raise ValueError("--cpr adds a term to the loss, which Stable-Baselines3 does not open")
    return experiment_of(request.preset, method, request.seed, request.scale)


def _run(experiment: PolicyExperiment, folder: RunFolder, request: Request) -> PolicyResult:
    name = name_of(experiment.method)
    place = folder if request.method else RunFolder(folder.path / name)
    with progress(Console(stderr=True), name) as sink:
        return run_policies(experiment, place, [sink], resume=request.resume, every=request.every)


def _scores(result: PolicyResult) -> Table:
    table = Table(title=f"{result.method}: mean score of an episode on each task", title_justify="left")
    table.add_column("after learning")
    for name in result.names:
        table.add_column(name, justify="right")
    table.add_row("(random actions)", *map(_number, result.history.random_scores))
    for number, (name, row) in enumerate(zip(result.names, result.scores(), strict=True), 1):
        table.add_row(f"{number}  {name}", *map(_number, row))
    return table


def _number(score: float | None) -> str:
    return NOTHING if score is None else f"{score:,.1f}"


@contextmanager
def progress(console: Console, method: str) -> Iterator[Logger[PolicyEvent]]:
    """A logger that shows a run's events for as long as the context lasts."""
    if not console.is_terminal:
        yield PlainProgress(console, method)
        return
    with bars(console, "updates") as display:
        yield LiveProgress(display, method)


@dataclass
class LiveProgress:
    """A bar for each task that moves with its updates.

    Attributes:
        display: Where the bars are.
        method: Name of the method, for their titles.
    """

    display: Progress
    method: str
    _bars: list[TaskID] = field(default_factory=list)

    def emit(self, event: PolicyEvent) -> None:
        """Show one event."""
        match event:
            case PolicyTaskStarted():
                title = f"{self.method}  task {event.task + 1}/{event.tasks}  {event.name}"
                self._bars.append(self.display.add_task(title, total=event.updates, state=""))
            case Updated():
                self.display.update(self._bars[-1], completed=event.update)
            case Evaluation() if event.task == event.training and self._bars:
                self.display.update(self._bars[-1], state=f"score {event.score:,.1f}")


@dataclass(frozen=True)
class PlainProgress:
    """One line of ``name=value`` pairs for each evaluation and each finished task.

    Attributes:
        console: Where lines go.
        method: Name of the method, on each line.
    """

    console: Console
    method: str

    def emit(self, event: PolicyEvent) -> None:
        """Write a line for what is worth one."""
        if isinstance(event, Evaluation):
            where = f"steps={event.time} training={event.training + 1} task={event.task + 1} name={event.name}"
            self._say(f"{where} score={event.score:.2f} episodes={event.episodes} capped={event.capped}")
        elif isinstance(event, PolicyTaskFinished):
            rate = event.steps / event.training_seconds
            self._say(f"learned={event.task + 1} seconds={event.seconds:.1f} steps_per_second={rate:.0f}")

    def _say(self, line: str) -> None:
        self.console.out(f"method={self.method} {line}", highlight=False)
