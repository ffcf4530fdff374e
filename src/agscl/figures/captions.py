"""What a figure stands on: which runs, seeds and settings, and what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from agscl.experiments.groups import Group, by_preset, groups
from agscl.experiments.records import IncompleteRun, StoredRun, SupervisedRun
from agscl.experiments.supervised.result import Result


def finished(runs: Iterable[StoredRun], only: str | None = None) -> list[SupervisedRun]:
    """The runs that a figure may use: those of task sequences that are complete.

    Args:
        runs: What was given.
        only: Name of the one method that counts; `None` for any.

    Raises:
        ValueError: If there is none.
    """
    found = [run for run in runs if isinstance(run, SupervisedRun)]
    if not found:
        raise ValueError("no finished run of a sequence of tasks among these: nothing to draw")
    used = [run for run in found if only in (None, run.result.method)]
    if not used:
        raise ValueError(
            f"this figure is about {only}, and none of these runs is one: agscl run PRESET --method {only}"
        )
    return used


def one_each(results: Iterable[Result]) -> dict[str, list[Group[Result]]]:
    """By preset, one group for each method.

    Raises:
        ValueError: If a method comes with several settings, or groups cannot be made (`agscl.experiments.groups`).
    """
    found = {preset: groups(own) for preset, own in by_preset(results).items()}
    for preset, own in found.items():
        for group in own:
            if group.label != group.method:
                labels = ", ".join(other.label for other in own if other.method == group.method)
                raise ValueError(f"{preset} has several settings of one method ({labels}): give runs of one of them")
    return found


def seeds_in_words(seeds: Sequence[int]) -> str:
    """Seeds as "seed 3" or "seeds 0-4, 7"."""
    runs = [[seed for _, seed in run] for _, run in groupby(enumerate(sorted(seeds)), lambda pair: pair[1] - pair[0])]
    shown = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"seed {shown}" if len(seeds) == 1 else f"seeds {shown}"


def options_in_words(group: Group[Result]) -> str:
    """Hyper-parameters as "mu=10 lam=400"."""
    return " ".join(f"{name}={_number(value)}" for name, value in group.options.items())


def standing(runs: Sequence[SupervisedRun]) -> list[str]:
    """Lines that say what a figure made of these runs stands on."""
    found: dict[str, list[Result]] = {}
    for run in runs:
        width = run.result.experiment.width
        times = "" if width == 1 else f" at {width:g} times the width"
        found.setdefault(f"{run.result.experiment.preset}{times}", []).append(run.result)
    return [line for network, own in found.items() for line in _network_lines(network, own)]


def left_out(runs: Sequence[StoredRun]) -> list[str]:
    """A line that names the runs which are not complete, if there are any."""
    incomplete = [run for run in runs if isinstance(run, IncompleteRun)]
    if not incomplete:
        return []
    shown = ", ".join(f"{run.folder.path} ({run.learned} of {run.tasks or '?'} tasks)" for run in incomplete)
    return [f"Incomplete, left out: {shown}."]


def _network_lines(network: str, results: Sequence[Result]) -> list[str]:
    found = groups(results)
    methods = "; ".join(
        _method_in_words([group for group in found if group.method == method])
        for method in dict.fromkeys(group.method for group in found)
    )
    single = any(len(group.seeds) == 1 for group in found)
    alone = " One seed alone gives no interval." if single else ""
    return [f"{network}: {scale_in_words(results[0])}. {methods}.{alone}"]


def _method_in_words(alike: Sequence[Group[Result]]) -> str:
    """All groups of one method: hyper-parameters with all their values, and seeds."""
    values = {name: list(dict.fromkeys(_number(group.options[name]) for group in alike)) for name in alike[0].options}
    options = [f"{name}={'|'.join(found)}" for name, found in values.items()]
    seeds = dict.fromkeys(seeds_in_words(group.seeds) for group in alike)
    return f"{' '.join([alike[0].method, *options])} ({' or '.join(seeds)})"


def scale_in_words(result: Result) -> str:
    """How much of the preset was run."""
    scale = result.scale()
    if not scale["scaled_down"]:
        return "the preset in full"
    tasks = f"{scale.get('tasks', len(result.history.tasks))} tasks"
    return f"scaled down to {tasks}, {scale['epochs']} epochs, {scale['fraction']:.0%} of the training examples"


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
