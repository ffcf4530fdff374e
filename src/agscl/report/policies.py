"""Finished runs of reinforcement learning sorted for the page: runs of one setting side by side, seeds together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agscl.experiments.groups import Group, by_seed, by_setting, groups
from agscl.experiments.policies.comparison import REFERENCE
from agscl.experiments.policies.result import PolicyResult
from agscl.experiments.records import PolicyRun
from agscl.figures.rewards import standing


@dataclass(frozen=True)
class PolicyBenchmark:
    """Runs of the same tasks under the same training.

    Attributes:
        entries: What is compared.
        repeats: Runs that repeat another of the same seed and settings; they do not count.
    """

    entries: tuple[Group[PolicyResult], ...]
    repeats: tuple[PolicyRun, ...]

    @property
    def name(self) -> str:
        """Name of the preset."""
        return self.results[0].experiment.preset

    @property
    def description(self) -> str:
        """What the tasks are, and how much of them was run."""
        return f"{self.results[0].experiment.full.description}. {standing(self.results)[0]}"

    @property
    def results(self) -> list[PolicyResult]:
        """What came out of every run that counts."""
        return [result for entry in self.entries for result in entry.results]

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks."""
        return self.results[0].names

    @property
    def references(self) -> dict[int, PolicyResult]:
        """Fine-tuning by seed: what scores are relative to."""
        return by_seed(self.results, REFERENCE)

    def compared(self, entry: Group[PolicyResult]) -> Group[PolicyResult] | None:
        """The runs of an entry that have fine-tuning of the same seed; `None` if there are none."""
        used = tuple(result for result in entry.results if result.experiment.seed in self.references)
        return Group[PolicyResult](entry.label, used) if used else None


def policy_benchmarks(runs: Iterable[PolicyRun]) -> list[PolicyBenchmark]:
    """Benchmarks in the order in which their runs come: runs of different settings are never mixed.

    Raises:
        ValueError: If two runs of one seed had the same settings and different outcomes.
    """
    runs = list(runs)
    by_result = {id(run.result): run for run in runs}
    return [_benchmark([by_result[id(result)] for result in alike]) for alike in by_setting(run.result for run in runs)]


def _benchmark(runs: Sequence[PolicyRun]) -> PolicyBenchmark:
    entries = groups(run.result for run in runs)
    counted = {id(result) for entry in entries for result in entry.results}
    return PolicyBenchmark(tuple(entries), tuple(run for run in runs if id(run.result) not in counted))
