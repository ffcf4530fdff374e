"""What comes out of a sweep: all trials, the chosen values, and how they did on the report's seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict

from agscl.experiments import Result
from agscl.experiments.codec import read_json
from agscl.experiments.supervised.comparison import aggregate
from agscl.experiments.words import NOTHING, duration, percent, size
from agscl.experiments.words import options as options_in_words
from agscl.experiments.words import seeds as seeds_in_words
from agscl.metrics import Interval
from agscl.runs.files import parse_record
from agscl.runs.tables import frame

from .folder import SweepFolder
from .plan import Draws, Plan, Searched, Sweep
from .trial import Trial, best_of

if TYPE_CHECKING:
    from polars import DataFrame

FORMAT = 1
"""Of ``sweep.json`` and ``best.json``; counts up when a reader of the old one could not read the new one."""

MEASURED = ("average_accuracy", "forgetting", "memory_bytes", "seconds")
"""What is reported of a method."""

HEADS = ("method", "chosen values", "trials", "validation %", "accuracy %", "forgetting %", "memory", "time")
"""Of the report's table."""


@dataclass(frozen=True)
class Reported:
    """A method in the report.

    Attributes:
        method: Its name.
        values: What was searched and chosen, by option; `None` if no trial completed.
        trials: How many trials ended in each way.
        score: Accuracy on the validation examples, by which they were chosen; a share.
        seeds: Of the finished runs.
        measures: Mean and half the width of the 95 % interval of each of `MEASURED` by name; `None` is no interval.
        failures: Why a run of the report has no result, by its seed.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")

    method: str
    values: dict[str, Any] | None
    trials: dict[str, int]
    score: float | None
    seeds: tuple[int, ...]
    measures: dict[str, tuple[float, float | None]]
    failures: dict[int, str]

    @classmethod
    def of(
        cls, method: Searched, trials: Sequence[Trial], results: Sequence[Result], failures: Mapping[int, str]
    ) -> Reported:
        """A method from its trials and the runs of its best one."""
        best, ends = best_of(trials), [trial.state for trial in trials]
        rows = aggregate(results) if results else []
        found = rows[0].measures if rows else {}
        return cls(
            method=method.name,
            values=None if best is None else dict(best.values),
            trials={state: ends.count(state) for state in ("complete", "pruned", "failed")},
            score=None if best is None else best.score,
            seeds=tuple(sorted(result.experiment.seed for result in results)),
            measures={name: _pair(found[name]) for name in MEASURED if name in found},
            failures=dict(failures),
        )

    def cells(self) -> list[str]:
        """The method as a row of the report's table, under `HEADS`."""
        measure = {
            name: Interval(mean, math.nan if half is None else half) for name, (mean, half) in self.measures.items()
        }
        writers = zip(MEASURED, (percent, percent, size, duration), strict=True)
        measured = [write(measure[name]) if name in measure else NOTHING for name, write in writers]
        return [self.method, self.chosen, self.trials_in_words, percent(self.score), *measured]

    @property
    def chosen(self) -> str:
        """The chosen values in words."""
        if self.values is None:
            return "none: no trial completed"
        return options_in_words(self.values) or "nothing to search"

    @property
    def trials_in_words(self) -> str:
        """How many trials there were, and how many of them have no score."""
        less = [f"{count} {state}" for state, count in self.trials.items() if state != "complete" and count]
        return ", ".join([str(sum(self.trials.values())), *less])


@dataclass(frozen=True)
class SweepRecord:
    """A sweep so far.

    Attributes:
        plan: What was asked for, and the seeds.
        trials: Those that have ended, method by method.
        report: A row a method; empty while values are still chosen.
    """

    plan: Plan
    trials: tuple[Trial, ...]
    report: tuple[Reported, ...] = ()

    @property
    def title(self) -> str:
        """Above every table: what was learned, and how values were chosen."""
        return f"{self.plan.sweep.preset}: {self.plan.label}"

    @property
    def notes(self) -> list[str]:
        """Below every table: what the numbers are of."""
        sweep, draws = self.plan.sweep, self.plan.draws
        each = "one seed" if sweep.tune_seeds == 1 else f"{sweep.tune_seeds} seeds each"
        tried = f"{sweep.trials} sets of values a method on {each}, the same epochs for all"
        notes = [
            f"{tried}; methods without anything to search get their one value",
            f"accuracy on test examples, mean ± 95 % interval over {seeds_in_words(draws.reported)}, "
            "none of which values were chosen on",
        ]
        if draws.tune_tasks == 1:
            notes.append("values were chosen after one task, where nothing can be forgotten yet: they say little")
        return notes + [
            f"FAILED {row.method} seed {seed}: {reason}" for row in self.report for seed, reason in row.failures.items()
        ]

    def of(self, method: str) -> list[Trial]:
        """The trials of a method."""
        return [trial for trial in self.trials if trial.method == method]

    def to_json(self) -> bytes:
        """The content of ``sweep.json``."""
        plan = json.loads(self.plan.to_json())
        content = {
            "format": FORMAT,
            "preset": self.plan.sweep.preset,
            "protocol": self.plan.sweep.protocol,
            "label": self.plan.label,
            "finished": bool(self.report),
            **plan,
            "trials": [trial.record() for trial in self.trials],
            "report": [asdict(row) for row in self.report],
        }
        return json.dumps(content, indent=1, allow_nan=False).encode() + b"\n"

    def table(self) -> DataFrame:
        """All trials as a table: a row each, with its values as JSON."""
        rows = [
            {
                **trial.record(),
                "values": json.dumps(dict(trial.values)),
                "tasks": sum(map(len, trial.steps)),
                "protocol": self.plan.label,
            }
            for trial in self.trials
        ]
        return frame([{name: row[name] for name in _COLUMNS} for row in rows], _COLUMNS)

    @classmethod
    def read(cls, folder: SweepFolder) -> SweepRecord:
        """The record in the folder of a sweep.

        Raises:
            ValueError: If it is damaged, or of another version.
        """
        content = folder.record.read_bytes()
        record = parse_record(content, folder.record)
        if record.get("format") != FORMAT:
            raise ValueError(f"{folder.record} is of format {record.get('format')!r}, this version reads {FORMAT}")
        read = read_json(_Written, content, str(folder.record))
        return cls(Plan(read.sweep, read.draws), read.trials, read.report)


def _pair(value: Interval) -> tuple[float, float | None]:
    return value.mean, None if math.isnan(value.half_width) else value.half_width


_COLUMNS = {
    "method": "String",
    "number": "Int64",
    "state": "String",
    "values": "String",
    "score": "Float64",
    "tasks": "Int64",
    "seconds": "Float64",
    "reason": "String",
    "protocol": "String",
}


@dataclass(frozen=True)
class _Written:
    """What is read of ``sweep.json``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")

    sweep: Sweep
    draws: Draws
    trials: tuple[Trial, ...]
    report: tuple[Reported, ...]
