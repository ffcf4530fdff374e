"""Plans: named lists of runs, the most telling first, of which as much is done as there is time for."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from agscl.experiments import Overrides, experiment_of, preset_named
from agscl.experiments.kind import AnyExperiment
from agscl.experiments.kinds import require
from agscl.experiments.records import IncompleteRun, read_run
from agscl.runs import RunFolder
from agscl.runs.files import read_record
from agscl.runs.lock import is_held

from .engine import Ended, Job, Work

FIRST = ("ags-cl", "fine-tuning", "ewc")
"""Methods without which a benchmark says nothing: they come first on each."""

ORDER = (*FIRST, "gated-ags-cl", "wsn", "lwf", "hat", "mas", "si", "rwalk", "packnet", "gpm", "joint", "single-task")
"""All methods, the most telling first; others follow."""


@dataclass(frozen=True)
class RunPlan:
    """Which runs, and in which order.

    All methods that a preset has values for, with each seed; first `FIRST` on every preset with seed 0, then the others
    with seed 0, then the same with the next seed.

    Attributes:
        description: One line.
        presets: The most telling first.
        seeds: Seeds 0 to ``seeds - 1``.
    """

    description: str
    presets: tuple[str, ...]
    seeds: int

    def runs(self, methods: Sequence[str] | None = None, changes: Overrides | None = None) -> list[AnyExperiment]:
        """The runs in their order.

        Args:
            methods: Only these; default: all that a preset has values for.
            changes: What is changed about the presets.

        Raises:
            ValueError: If no preset has values for one of the methods, or something cannot be changed.

        Example:
            >>> [f"{run.method_name} {run.seed}" for run in PLANS["digits"].runs()[:3]]
            ['ags-cl 0', 'fine-tuning 0', 'ewc 0']
        """
        tuned = {preset: preset_named(preset).tuned for preset in self.presets}
        known = list(dict.fromkeys(name for of_preset in tuned.values() for name in of_preset))
        if unknown := [name for name in methods or () if name not in known]:
            raise ValueError(f"this plan has no runs of {unknown[0]!r}; its methods are: {', '.join(known)}")
        found = [
            ((seed, name not in FIRST, place, _rank(name)), experiment_of(preset, method, seed, changes or Overrides()))
            for seed in range(self.seeds)
            for place, preset in enumerate(self.presets)
            for name, method in tuned[preset].items()
            if methods is None or name in methods
        ]
        return [run for _, run in sorted(found, key=lambda each: each[0])]


def _rank(method: str) -> int:
    return ORDER.index(method) if method in ORDER else len(ORDER)


PLANS: Mapping[str, RunPlan] = {
    "digits": RunPlan("every method on scikit-learn's digits; needs no data", ("digits",), 5),
    "short-cifar100": RunPlan("every method on CIFAR-100 at 15 epochs a task", ("cifar100-short",), 5),
    "paper-cifar100": RunPlan("figure 4, left: every method on CIFAR-100", ("cifar100",), 5),
    "paper-cifar10-100": RunPlan("figure 4: CIFAR-10, then CIFAR-100", ("cifar10-100",), 5),
    "paper-omniglot": RunPlan("figure 4, right: 50 alphabets", ("omniglot",), 5),
    "paper-cub200": RunPlan("figure 5, left: CUB-200, 80/20", ("cub200-paper",), 5),
    "paper-eight": RunPlan("figure 5, right: eight data sets", ("eight",), 5),
    "paper-atari8": RunPlan("figure 7: eight games; for clusters", ("atari8-paper",), 5),
    "paper-all": RunPlan(
        "all of these of the paper",
        ("cifar100", "omniglot", "cifar10-100", "cub200-paper", "eight", "atari8-paper"),
        5,
    ),
}
"""By name."""


def plan_named(name: str) -> RunPlan:
    """The plan of that name; a `ValueError` lists the names if there is none."""
    if name not in PLANS:
        alike = difflib.get_close_matches(name, PLANS, 1)
        hint = f"; did you mean {alike[0]}?" if alike else ""
        raise ValueError(f"unknown plan {name!r}; there are: {', '.join(PLANS)}{hint}")
    return PLANS[name]


Status = Literal["done", "running", "begun", "missing", "failed", "no data", "foreign"]
"""Of a planned run; ``foreign``: its folder holds another one."""

OPEN: tuple[Status, ...] = ("begun", "missing")
"""What can be done now."""


@dataclass(frozen=True)
class Planned:
    """A run of a plan, and what has become of it.

    Attributes:
        experiment: The run: as it was begun, if it was.
        folder: Where it is.
        status: How far it is.
        note: More about it, in one line.
        accuracy: Average accuracy of a finished run, where it has one.
    """

    experiment: AnyExperiment
    folder: RunFolder
    status: Status
    note: str = ""
    accuracy: float | None = None

    @property
    def key(self) -> str:
        """Its name, which no other run of the plan has."""
        return f"{self.experiment.preset} {self.experiment.method_name} seed {self.experiment.seed}"

    @classmethod
    def found(cls, wanted: AnyExperiment, root: Path, data_root: Path | None = None) -> Planned:
        """A run as it stands in a folder of runs: ``PRESET/METHOD/seed-N``.

        What was begun on another device or in another precision goes on there, and counts if it is finished.
        """
        folder = RunFolder(root / wanted.preset / wanted.method_name / f"seed-{wanted.seed}")
        if not folder.experiment.exists():
            try:
                require([wanted], data_root)
            except ValueError as error:
                return cls(wanted, folder, "no data", " ".join(str(error).split()))
            return cls(wanted, folder, "missing")
        try:
            return cls._begun(wanted, folder)
        except (ValueError, AttributeError) as error:
            return cls(wanted, folder, "foreign", " ".join(str(error).split()))

    @classmethod
    def _begun(cls, wanted: AnyExperiment, folder: RunFolder) -> Planned:
        """A run that was begun; raises a `ValueError` if it is another one or cannot be read."""
        begun = wanted.from_json(folder.experiment.read_bytes())
        if other := _differences(begun, wanted):
            raise ValueError(f"{folder.path} holds a run with another {' and '.join(other)}")
        if folder.result.exists():
            mean = read_record(folder.result).get("measures", {}).get("average_accuracy")
            return cls(begun, folder, "done", accuracy=mean if isinstance(mean, float | int) else None)
        if is_held(folder.path):
            return cls(begun, folder, "running")
        run = read_run(folder)
        learned = f"{run.learned} of {run.tasks or '?'} tasks" if isinstance(run, IncompleteRun) else ""
        return cls(begun, folder, "begun", learned)


def _differences(one: AnyExperiment, other: AnyExperiment) -> list[str]:
    """Fields in which two runs differ, what they compute on aside."""
    names = [field.name for field in fields(one) if field.name != "compute"]  # type: ignore[arg-type] # a dataclass
    return [name for name in names if getattr(one, name) != getattr(other, name)]


class Reproduction(Work):
    """The open runs of a plan, in their order, until the time is over; what is at work then saves and stops.

    Attributes:
        runs: All runs of the plan as they stand.
    """

    def __init__(self, runs: Iterable[Planned], say: Callable[[str], None], seconds: float | None = None) -> None:
        self.runs = {run.key: run for run in runs}
        self._open = [key for key, run in self.runs.items() if run.status in OPEN]
        self._say, self._count = say, len(self._open)
        self._deadline = None if seconds is None else time.monotonic() + seconds

    @property
    def over(self) -> bool:
        """Whether the time is."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def jobs(self) -> list[Job]:
        """Those that have not ended; none when the time is over."""
        if self.over:
            return []
        return [Job(key, self.runs[key].experiment, self.runs[key].folder.path) for key in self._open]

    def take(self, ended: Ended) -> None:
        """Look at what has become of a run, and tell of it."""
        self._open.remove(ended.key)
        before = self.runs[ended.key]
        if ended.failure is not None:
            now = replace(before, status="failed", note=ended.failure)
        else:
            root = before.folder.path.parents[2]
            now = Planned.found(before.experiment, root)
        self.runs[ended.key] = now
        place = self._count - len(self._open)
        shown = f"{now.accuracy:.1%}" if now.accuracy is not None else now.note
        self._say(f"[{place}/{self._count}] {ended.key}: {now.status}{f', {shown}' if shown else ''}")

    def hopeless(self, running: Iterable[str]) -> list[str]:
        """All of them when the time is over: each saves a checkpoint and goes on another time."""
        return list(running) if self.over else []


UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)([hms])")


def seconds_of(text: str) -> float:
    """A time as people write it, in seconds.

    >>> seconds_of("1h30m"), seconds_of("90s")
    (5400.0, 90.0)

    Raises:
        ValueError: If it is none.
    """
    parts = DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"a time is hours, minutes and seconds, such as 2h, 8m or 1h30m, not {text!r}")
    return sum(float(number) * UNITS[unit] for number, unit in parts)
