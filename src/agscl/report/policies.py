"""Finished runs of reinforcement learning sorted for the page: runs of one setting side by side, seeds together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agscl.experiments.policies.comparison import REFERENCE, PolicyRun, RLGroup, references, rl_groups, rl_setting
from agscl.experiments.policies.result import PolicyResult
from agscl.figures.rewards import standing


@dataclass(frozen=True)
class PolicyBenchmark:
    """Runs of the same tasks under the same training.

    Attributes:
        entries: What is compared.
        repeats: Runs that repeat another of the same seed and settings; they do not count.
    """

    entries: tuple[RLGroup, ...]
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
        return references(self.results, REFERENCE)

    def compared(self, entry: RLGroup) -> RLGroup | None:
        """The runs of an entry that have fine-tuning of the same seed; `None` if there are none."""
        used = tuple(result for result in entry.results if result.experiment.seed in self.references)
        return RLGroup(entry.label, used) if used else None


def policy_benchmarks(runs: Iterable[PolicyRun]) -> list[PolicyBenchmark]:
    """Benchmarks in the order in which their runs come: runs of different settings are never mixed.

    Raises:
        ValueError: If two runs of one seed had the same settings and different outcomes.
    """
    found: dict[tuple[object, ...], list[PolicyRun]] = {}
    for run in runs:
        found.setdefault(rl_setting(run.result.experiment), []).append(run)
    return [_benchmark(alike) for alike in found.values()]


def _benchmark(runs: Sequence[PolicyRun]) -> PolicyBenchmark:
    entries = rl_groups(run.result for run in runs)
    counted = {id(result) for entry in entries for result in entry.results}
    return PolicyBenchmark(tuple(entries), tuple(run for run in runs if id(run.result) not in counted))
