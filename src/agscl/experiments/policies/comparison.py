"""Runs of reinforcement learning side by side: scores relative to random actions (0) and to fine-tuning (1)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agscl.experiments.codec import method_to_json, name_of
from agscl.experiments.groups import labels
from agscl.experiments.records import OtherRun, Record, StoredRun
from agscl.experiments.supervised.comparison import REFERENCE as REFERENCE
from agscl.methods import AnyMethod
from agscl.metrics import reinforcement as measures_of
from agscl.metrics.interval import Range
from agscl.metrics.reinforcement import accumulated, bootstrap_mean, relative
from agscl.rl.history import Evaluation
from agscl.runs import RunFolder

from .experiment import PolicyExperiment
from .result import KIND, PolicyResult

ALONE = "single-task"
"""The method that forward transfer compares with."""


@dataclass(frozen=True)
class PolicyRun:
    """A finished run of reinforcement learning.

    Attributes:
        folder: Where it is.
        asked: What was asked, as the folder has it.
        result: What came out.
    """

    folder: RunFolder
    asked: Record
    result: PolicyResult


def policy_runs(runs: Iterable[StoredRun]) -> list[PolicyRun]:
    """The finished runs of reinforcement learning among those given.

    Raises:
        ValueError: If one cannot be read.
    """
    found = [run for run in runs if isinstance(run, OtherRun) and run.record.get("kind") == KIND]
    return [PolicyRun(run.folder, run.asked, PolicyResult.read(run.folder)) for run in found]


def rl_results(runs: Iterable[StoredRun]) -> list[PolicyResult]:
    """What came out of the finished runs of reinforcement learning among those given.

    Raises:
        ValueError: If one cannot be read.
    """
    return [run.result for run in policy_runs(runs)]


@dataclass(frozen=True)
class RLGroup:
    """The runs of one method with the same hyper-parameters, a run for each seed.

    Attributes:
        label: The method's name, with the hyper-parameters that tell it from another group of its name.
        results: The runs, in the order of their seeds.
    """

    label: str
    results: tuple[PolicyResult, ...]

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.results[0].method

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs, ascending."""
        return tuple(result.experiment.seed for result in self.results)


def rl_setting(experiment: PolicyExperiment) -> tuple[object, ...]:
    """All that runs must have in common to be compared; equal where it is equal."""
    return experiment.preset, experiment.training, experiment.tasks


def rl_groups(results: Iterable[PolicyResult]) -> list[RLGroup]:
    """A group for each method with its hyper-parameters, in the order in which they come.

    Raises:
        ValueError: If runs differ in more than method and seed, or two runs of one seed have different outcomes.
    """
    found: dict[AnyMethod, list[PolicyResult]] = {}
    setting: tuple[object, ...] | None = None
    for result in results:
        setting = setting or rl_setting(result.experiment)
        if rl_setting(result.experiment) != setting:
            raise ValueError("these runs are of different presets, steps or tasks: give those of one setting")
        found.setdefault(result.experiment.method, []).append(result)
    named = [(name_of(method), method_to_json(method)) for method in found]
    return [RLGroup(label, _ordered(label, own)) for label, own in zip(labels(named), found.values(), strict=True)]


def _ordered(label: str, results: Sequence[PolicyResult]) -> tuple[PolicyResult, ...]:
    """One run for each seed; of repeats with the same scores, the first."""
    by_seed: dict[int, PolicyResult] = {}
    for result in results:
        first = by_seed.setdefault(result.experiment.seed, result)
        if first.history.evaluations != result.history.evaluations:
            raise ValueError(f"{label} has two runs with seed {result.experiment.seed} that differ: give one of them")
    return tuple(by_seed[seed] for seed in sorted(by_seed))


def references(results: Iterable[PolicyResult], method: str) -> dict[int, PolicyResult]:
    """The runs of a method by their seeds."""
    return {result.experiment.seed: result for result in results if result.method == method}


def final_matrix(result: PolicyResult) -> Tensor:
    """Raw score after each task on each task, shape ``(T, T)``; NaN where it was not measured."""
    rows = [[math.nan if score is None else score for score in row] for row in result.scores()]
    return torch.tensor(rows, dtype=torch.float64)


def relative_matrix(result: PolicyResult, reference: PolicyResult) -> Tensor:
    """Relative score after each task on each task; 1 is fine-tuning right after it learned the task."""
    return relative(final_matrix(result), result.history.random_scores, final_matrix(reference).diagonal())


def rl_measures(result: PolicyResult, reference: PolicyResult, alone: PolicyResult | None = None) -> dict[str, float]:
    """Measures of one run by name; NaN where no task can be measured.

    Args:
        result: The run.
        reference: Fine-tuning with the same seed.
        alone: Single-task learning with the same seed, for forward transfer.
    """
    matrix = relative_matrix(result, reference)
    found = {
        "accumulated_reward": _at_the_end(accumulated_over_time(result, reference), matrix),
        "performance": measures_of.performance(matrix),
        "forgetting": measures_of.reward_forgetting(matrix),
        "plasticity": measures_of.plasticity_by_task(matrix).nanmean().item(),
        "stability": measures_of.stability_by_task(matrix).nanmean().item(),
    }
    if alone is None:
        return found
    ends = final_matrix(alone).diagonal()
    curves = [relative(_curves(r).T, result.history.random_scores, ends).T for r in (result, alone)]
    return {**found, "forward_transfer": measures_of.reward_transfer(*curves)}


def summary(results: Sequence[PolicyResult]) -> dict[str, Mapping[str, Range]]:
    """By label of a group, each measure's mean over the seeds with its bootstrap interval.

    Seeds without a run of fine-tuning are left out; so is forward transfer without one of single-task.
    """
    reference, alone = references(results, REFERENCE), references(results, ALONE)
    return {group.label: _means(group, reference, alone) for group in rl_groups(results)}


def accumulated_over_time(result: PolicyResult, reference: PolicyResult) -> dict[int, float]:
    """By time in agent steps, the sum over the tasks learned so far; 1 is the most that fine-tuning ever got on one.

    Tasks on which fine-tuning never beat random actions count 0. Source: Jung et al. (2020), figure 7(a).
    """
    tasks = range(len(result.history.tasks))
    best = torch.tensor([max(e.score for e in _learned(reference) if e.task == task) for task in tasks])
    sums: dict[int, float] = {}
    latest = torch.full((len(tasks),), torch.nan, dtype=torch.float64)
    for evaluation in _learned(result):
        latest[evaluation.task] = evaluation.score
        sums[evaluation.time] = accumulated(relative(latest, result.history.random_scores, best)).item()
    return sums


def _at_the_end(sums: Mapping[int, float], matrix: Tensor) -> float:
    """The last sum; NaN if it is over tasks none of which can be measured."""
    return math.nan if matrix.isnan().all() else sums[max(sums)]


def _learned(result: PolicyResult) -> list[Evaluation]:
    """The evaluations of tasks that were learned or being learned."""
    return [evaluation for evaluation in result.history.evaluations if evaluation.task <= evaluation.training]


def not_measured(results: Iterable[PolicyResult]) -> Iterator[str]:
    """A line for each seed that names the tasks on which there is nothing to compare with."""
    for seed, result in references(results, REFERENCE).items():
        scores = relative_matrix(result, result).diagonal()
        names = [name for name, score in zip(result.names, scores.tolist(), strict=True) if math.isnan(score)]
        if names:
            yield f"Seed {seed}: {REFERENCE} was no better than random actions on {', '.join(names)}: not measured."


@dataclass(frozen=True)
class TaskMeasures:
    """How one method did on one task, over its seeds.

    Attributes:
        name: Name of the task.
        plasticity: Mean with its bootstrap interval; NaN where no seed can be measured.
        stability: As plasticity.
    """

    name: str
    plasticity: Range
    stability: Range


def by_task(group: RLGroup, reference: Mapping[int, PolicyResult]) -> list[TaskMeasures]:
    """Plasticity and stability of each task, over the seeds that fine-tuning has and that can be measured.

    Args:
        group: The runs of a method.
        reference: Fine-tuning by seed.
    """
    used = [result for result in group.results if result.experiment.seed in reference]
    matrices = [relative_matrix(result, reference[result.experiment.seed]) for result in used]
    plasticity = [measures_of.plasticity_by_task(matrix).tolist() for matrix in matrices]
    stability = [measures_of.stability_by_task(matrix).tolist() for matrix in matrices]
    return [
        TaskMeasures(name, _mean([row[task] for row in plasticity]), _mean([row[task] for row in stability]))
        for task, name in enumerate(group.results[0].names)
    ]


def _mean(values: Sequence[float]) -> Range:
    """Mean of the values that are numbers, with its bootstrap interval."""
    measured = [value for value in values if not math.isnan(value)]
    return bootstrap_mean(measured) if measured else Range(math.nan, math.nan, math.nan)


def _means(
    group: RLGroup, reference: Mapping[int, PolicyResult], alone: Mapping[int, PolicyResult]
) -> dict[str, Range]:
    values: dict[str, list[float]] = {}
    used = [result for result in group.results if result.experiment.seed in reference]
    for result in used:
        seed = result.experiment.seed
        for name, value in rl_measures(result, reference[seed], alone.get(seed)).items():
            values.setdefault(name, []).append(value)
    return {name: bootstrap_mean(found) for name, found in values.items() if len(found) == len(used)}


def _curves(result: PolicyResult) -> Tensor:
    """Raw scores on each task while it was learned, shape ``(T, evaluations a task)``."""
    tasks = range(len(result.history.tasks))
    own = [e for e in result.history.evaluations if e.task == e.training]
    curves = [[e.score for e in own if e.task == task and e.time > begin(result, task)] for task in tasks]
    return torch.tensor(curves, dtype=torch.float64)


def begin(result: PolicyResult, task: int) -> int:
    """When training of a task began, in agent steps."""
    return sum(learned.steps for learned in result.history.tasks[:task])
