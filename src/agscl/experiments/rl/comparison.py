"""Runs of reinforcement learning side by side: scores relative to random actions (0) and to fine-tuning (1)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agscl.experiments.methods import method_to_json
from agscl.experiments.stored import OtherRun, StoredRun
from agscl.metrics import reinforcement as measures_of
from agscl.metrics.interval import Range
from agscl.metrics.reinforcement import bootstrap_mean, relative

from .result import KIND, RLResult

REFERENCE = "fine-tuning"
"""The method whose scores are 1."""

ALONE = "single-task"
"""The method that forward transfer compares with."""


def rl_results(runs: Iterable[StoredRun]) -> list[RLResult]:
    """The finished runs of reinforcement learning among those given.

    Raises:
        ValueError: If one cannot be read.
    """
    found = [run for run in runs if isinstance(run, OtherRun) and run.record.get("kind") == KIND]
    return [RLResult.read(run.folder) for run in found]


@dataclass(frozen=True)
class RLGroup:
    """The runs of one method, a run for each seed.

    Attributes:
        method: Name of the method.
        results: The runs, in the order of their seeds.
    """

    method: str
    results: tuple[RLResult, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs, ascending."""
        return tuple(result.experiment.seed for result in self.results)


def rl_groups(results: Iterable[RLResult]) -> list[RLGroup]:
    """A group for each method, in the order in which they come.

    Raises:
        ValueError: If runs differ in more than method and seed, a method comes with several settings, or twice.
    """
    found: dict[str, list[RLResult]] = {}
    settings: dict[str, object] = {}
    for result in results:
        asked = result.experiment
        setting = (asked.preset, asked.training, asked.tasks)
        if settings.setdefault("all", setting) != setting:
            raise ValueError("these runs are of different presets, steps or tasks: give those of one setting")
        options = method_to_json(asked.method)
        if settings.setdefault(f"method {result.method}", options) != options:
            raise ValueError(f"{result.method} comes with several settings: give runs of one of them")
        if any(other.experiment.seed == asked.seed for other in found.setdefault(result.method, [])):
            raise ValueError(f"{result.method} has several runs with seed {asked.seed}: give one of them")
        found[result.method].append(result)
    return [RLGroup(name, tuple(sorted(own, key=lambda r: r.experiment.seed))) for name, own in found.items()]


def references(results: Iterable[RLResult], method: str) -> dict[int, RLResult]:
    """The runs of a method by their seeds."""
    return {result.experiment.seed: result for result in results if result.method == method}


def final_matrix(result: RLResult) -> Tensor:
    """Raw score after each task on each task, shape ``(T, T)``; NaN where it was not measured."""
    rows = [[math.nan if score is None else score for score in row] for row in result.scores()]
    return torch.tensor(rows, dtype=torch.float64)


def relative_matrix(result: RLResult, reference: RLResult) -> Tensor:
    """Relative score after each task on each task; 1 is fine-tuning right after it learned the task."""
    return relative(final_matrix(result), result.progress.random_scores, final_matrix(reference).diagonal())


def rl_measures(result: RLResult, reference: RLResult, alone: RLResult | None = None) -> dict[str, float]:
    """Measures of one run by name; NaN where no task can be measured.

    Args:
        result: The run.
        reference: Fine-tuning with the same seed.
        alone: Single-task learning with the same seed, for forward transfer.
    """
    matrix = relative_matrix(result, reference)
    found = {
        "performance": measures_of.performance(matrix),
        "forgetting": measures_of.reward_forgetting(matrix),
        "plasticity": measures_of.plasticity_by_task(matrix).nanmean().item(),
        "stability": measures_of.stability_by_task(matrix).nanmean().item(),
    }
    if alone is None:
        return found
    ends = final_matrix(alone).diagonal()
    curves = [relative(_curves(r).T, result.progress.random_scores, ends).T for r in (result, alone)]
    return {**found, "forward_transfer": measures_of.reward_transfer(*curves)}


def summary(results: Sequence[RLResult]) -> dict[str, Mapping[str, Range]]:
    """By method, each measure's mean over the seeds with its bootstrap interval.

    Seeds without a run of fine-tuning are left out; so is forward transfer without one of single-task.
    """
    reference, alone = references(results, REFERENCE), references(results, ALONE)
    return {group.method: _means(group, reference, alone) for group in rl_groups(results)}


def _means(group: RLGroup, reference: Mapping[int, RLResult], alone: Mapping[int, RLResult]) -> dict[str, Range]:
    values: dict[str, list[float]] = {}
    used = [result for result in group.results if result.experiment.seed in reference]
    for result in used:
        seed = result.experiment.seed
        for name, value in rl_measures(result, reference[seed], alone.get(seed)).items():
            values.setdefault(name, []).append(value)
    return {name: bootstrap_mean(found) for name, found in values.items() if len(found) == len(used)}


def _curves(result: RLResult) -> Tensor:
    """Raw scores on each task while it was learned, shape ``(T, evaluations a task)``."""
    tasks = range(len(result.progress.tasks))
    own = [e for e in result.progress.evaluations if e.task == e.training]
    curves = [[e.score for e in own if e.task == task and e.time > _begin(result, task)] for task in tasks]
    return torch.tensor(curves, dtype=torch.float64)


def _begin(result: RLResult, task: int) -> int:
    return sum(learned.steps for learned in result.progress.tasks[:task])
