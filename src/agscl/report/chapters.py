"""Finished runs sorted for the page: runs of one benchmark side by side, seeds of equal settings together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from agscl.experiments.groups import Group, R, by_setting, environments, groups
from agscl.experiments.kind import AnyResult, scale_of
from agscl.experiments.words import ONE_SEED, seeds
from agscl.figures.palette import Look, looks
from agscl.runs import RunFolder

R_co = TypeVar("R_co", bound=AnyResult, covariant=True)


class FinishedRun(Protocol[R_co]):
    """A finished run of any kind, as `agscl.experiments.records` reads it."""

    @property
    def folder(self) -> RunFolder:
        """Where it is."""

    @property
    def result(self) -> R_co:
        """Its result."""


@dataclass(frozen=True)
class Entry(Generic[R]):
    """A method with its hyper-parameters on the page.

    Attributes:
        group: Its results, which differ in nothing but the seed.
        look: Its name, colour and marker.
        runs: The runs of the results.
    """

    group: Group[R]
    look: Look
    runs: tuple[FinishedRun[R], ...]

    @property
    def title(self) -> str:
        """Its name, with the hyper-parameters that tell it from others of the benchmark."""
        return self.look.title

    @property
    def results(self) -> tuple[R, ...]:
        """Results by ascending seed, each seed once."""
        return self.group.results


@dataclass(frozen=True)
class Benchmark(Generic[R]):
    """Runs of the same tasks under the same training.

    Attributes:
        entries: What is compared.
        repeats: Runs that repeat another of the same seed and settings; they do not count.
    """

    entries: tuple[Entry[R], ...]
    repeats: tuple[FinishedRun[R], ...]

    @property
    def results(self) -> list[R]:
        """The results of all runs that count."""
        return [result for entry in self.entries for result in entry.results]

    @property
    def name(self) -> str:
        """Name of the preset."""
        return self.results[0].experiment.preset

    @property
    def description(self) -> str:
        """What the tasks are, and how much of them was run."""
        scale = scale_of(self.results)
        sentences = [self.results[0].experiment.full.description, f"{scale[0].upper()}{scale[1:]}"]
        return ". ".join([*sentences, *environments(self.results)]) + "."

    def over_seeds(self, intervals: str) -> str:
        """A sentence on how the seeds became one drawing, with the ends of a caption; of one seed each, the seeds.

        Args:
            intervals: What shows the intervals, such as ``"bands are 95 % intervals"``.
        """
        if any(len(entry.results) > 1 for entry in self.entries):
            return f"Mean over the seeds; {intervals}."
        return f"{ONE_SEED.capitalize()}: {seeds(result.experiment.seed for result in self.results)}."

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks."""
        return self.results[0].names


def benchmarks(runs: Iterable[FinishedRun[R]]) -> list[Benchmark[R]]:
    """Benchmarks in the order in which their runs come: runs of different settings are never mixed.

    Raises:
        ValueError: If two runs of one seed had different tasks, or the same settings and different outcomes.
    """
    run_of = {id(run.result): run for run in runs}
    sorted_runs = []
    for alike in by_setting(run.result for run in run_of.values()):
        together = groups(alike)
        look_of = looks(group.label for group in together)
        entries = [
            Entry(group, look_of[group.label], tuple(run_of.pop(id(result)) for result in group.results))
            for group in together
        ]
        repeats = tuple(run_of[id(result)] for result in alike if id(result) in run_of)
        sorted_runs.append(Benchmark(tuple(entries), repeats))
    return sorted_runs
