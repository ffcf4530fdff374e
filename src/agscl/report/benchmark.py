"""Finished runs sorted for the page: runs of one benchmark side by side, seeds of equal settings together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agscl.experiments import Preset, Result, preset_named
from agscl.experiments.groups import groups, setting_of
from agscl.experiments.records import SequenceRun
from agscl.experiments.supervised.aggregate import Row, aggregate


@dataclass(frozen=True)
class Entry:
    """A method with its hyper-parameters: runs that differ in nothing but the seed.

    Attributes:
        label: The method, with the settings that tell it from others of the benchmark.
        runs: By ascending seed, each seed once.
        row: Measures over the seeds.
    """

    label: str
    runs: tuple[SequenceRun, ...]
    row: Row

    @property
    def results(self) -> list[Result]:
        """What came out of each run."""
        return [run.result for run in self.runs]

    @property
    def seeds(self) -> str:
        """Their seeds in words."""
        plural = "" if len(self.runs) == 1 else "s"
        return f"seed{plural} {', '.join(map(str, self.row.seeds))}"


@dataclass(frozen=True)
class Benchmark:
    """Runs of the same tasks under the same training.

    Attributes:
        entries: What is compared.
        repeats: Runs that repeat another of the same seed and settings; they do not count.
    """

    entries: tuple[Entry, ...]
    repeats: tuple[SequenceRun, ...]

    @property
    def name(self) -> str:
        """Name of the preset."""
        return self._first.experiment.preset

    @property
    def description(self) -> str:
        """What the tasks are, and how much of them was run."""
        preset: Preset = preset_named(self.name)
        scale = self._first.scale_in_words()
        return f"{preset.description}. {scale[0].upper()}{scale[1:]}."

    @property
    def num_tasks(self) -> int:
        """Number of tasks in the sequence."""
        return len(self._first.history.tasks)

    @property
    def _first(self) -> Result:
        return self.entries[0].runs[0].result


def benchmarks(runs: Iterable[SequenceRun]) -> list[Benchmark]:
    """Benchmarks in the order in which their runs come: runs of different settings are never mixed.

    Raises:
        ValueError: If two runs of one seed had different tasks, or the same settings and different outcomes.
    """
    found: dict[str, list[SequenceRun]] = {}
    for run in runs:
        setting = json.dumps(setting_of(run.result.experiment), sort_keys=True)
        found.setdefault(setting, []).append(run)
    return [_benchmark(alike) for alike in found.values()]


def _benchmark(runs: Sequence[SequenceRun]) -> Benchmark:
    results = [run.result for run in runs]
    by_result = {id(run.result): run for run in runs}
    entries = [
        Entry(group.label, tuple(by_result.pop(id(result)) for result in group.results), row)
        for group, row in zip(groups(results), aggregate(results), strict=True)
    ]
    return Benchmark(tuple(entries), tuple(by_result.values()))
