"""Finished runs sorted for the page: runs of one benchmark side by side, seeds of equal settings together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agscl.experiments import Result, preset_named
from agscl.experiments.groups import by_setting, groups
from agscl.experiments.records import SupervisedRun
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
    runs: tuple[SupervisedRun, ...]
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
    repeats: tuple[SupervisedRun, ...]

    @property
    def name(self) -> str:
        """Name of the preset."""
        return self._first.experiment.preset

    @property
    def description(self) -> str:
        """What the tasks are, and how much of them was run."""
        scale = self._first.scale_in_words()
        return f"{preset_named(self.name).description}. {scale[0].upper()}{scale[1:]}."

    @property
    def num_tasks(self) -> int:
        """Number of tasks in the sequence."""
        return len(self._first.history.tasks)

    @property
    def _first(self) -> Result:
        return self.entries[0].runs[0].result


def benchmarks(runs: Iterable[SupervisedRun]) -> list[Benchmark]:
    """Benchmarks in the order in which their runs come: runs of different settings are never mixed.

    Raises:
        ValueError: If two runs of one seed had different tasks, or the same settings and different outcomes.
    """
    runs = list(runs)
    by_result = {id(run.result): run for run in runs}
    return [_benchmark([by_result[id(result)] for result in alike]) for alike in by_setting(run.result for run in runs)]


def _benchmark(runs: Sequence[SupervisedRun]) -> Benchmark:
    results = [run.result for run in runs]
    by_result = {id(run.result): run for run in runs}
    entries = [
        Entry(group.label, tuple(by_result.pop(id(result)) for result in group.results), row)
        for group, row in zip(groups(results), aggregate(results), strict=True)
    ]
    return Benchmark(tuple(entries), tuple(by_result.values()))
