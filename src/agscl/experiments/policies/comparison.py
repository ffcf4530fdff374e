"""Runs of reinforcement learning side by side: scores relative to random actions (0) and to fine-tuning (1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agscl.experiments.groups import Group, by_seed, groups, measured_in_all
from agscl.experiments.supervised.comparison import REFERENCE as REFERENCE
from agscl.metrics import reinforcement
from agscl.metrics.interval import Range
from agscl.metrics.reinforcement import accumulated, bootstrap_mean, relative
from agscl.rl.history import Evaluation

from .result import PolicyResult

ALONE = "single-task"
"""The method that forward transfer compares with."""


def final_matrix(result: PolicyResult) -> Tensor:
    """Raw score after each task on each task, shape ``(T, T)``; NaN where it was not measured."""
    rows = [[math.nan if score is None else score for score in row] for row in result.scores()]
    return torch.tensor(rows, dtype=torch.float64)


def relative_matrix(result: PolicyResult, reference: PolicyResult) -> Tensor:
    """Relative score after each task on each task; 1 is fine-tuning right after it learned the task."""
    return relative(final_matrix(result), result.history.random_scores, final_matrix(reference).diagonal())


def measures(result: PolicyResult, reference: PolicyResult, alone: PolicyResult | None = None) -> dict[str, float]:
    """Measures of one run by name; NaN where no task can be measured.

    Args:
        result: The run.
        reference: Fine-tuning with the same seed.
        alone: Single-task learning with the same seed, for forward transfer.
    """
    matrix = relative_matrix(result, reference)
    sums = accumulated_over_time(result, reference)
    found = {
        "accumulated_reward": math.nan if matrix.isnan().all() else sums[max(sums)],
        "performance": reinforcement.performance(matrix),
        "forgetting": reinforcement.reward_forgetting(matrix),
        "plasticity": reinforcement.plasticity_by_task(matrix).nanmean().item(),
        "stability": reinforcement.stability_by_task(matrix).nanmean().item(),
    }
    if alone is None:
        return found
    ends, tasks = final_matrix(alone).diagonal(), range(len(result.history.tasks))
    curves = []  # relative scores on each task while it was learned
    for run in (result, alone):
        own = [e for e in run.history.evaluations if e.task == e.training]
        scores = [[e.score for e in own if e.task == task and e.time > begin(run, task)] for task in tasks]
        curves.append(relative(torch.tensor(scores, dtype=torch.float64).T, result.history.random_scores, ends).T)
    return {**found, "forward_transfer": reinforcement.reward_transfer(*curves)}


def summary(results: Sequence[PolicyResult]) -> dict[str, Mapping[str, Range]]:
    """By label of a group, each measure's mean over the seeds with its bootstrap interval.

    Seeds without a run of fine-tuning are left out; so is forward transfer without one of single-task.
    """
    reference, alone = by_seed(results, REFERENCE), by_seed(results, ALONE)
    means: dict[str, Mapping[str, Range]] = {}
    for group in groups(results):
        used = [(result.experiment.seed, result) for result in group.results if result.experiment.seed in reference]
        runs = [measures(result, reference[seed], alone.get(seed)) for seed, result in used]
        means[group.label] = {name: bootstrap_mean(values) for name, values in measured_in_all(runs).items()}
    return means


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


def _learned(result: PolicyResult) -> list[Evaluation]:
    """The evaluations of tasks that were learned or being learned."""
    return [evaluation for evaluation in result.history.evaluations if evaluation.task <= evaluation.training]


def not_measured(results: Iterable[PolicyResult]) -> Iterator[str]:
    """A line for each seed that names the tasks on which there is nothing to compare with."""
    for seed, result in by_seed(results, REFERENCE).items():
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


def by_task(group: Group[PolicyResult], reference: Mapping[int, PolicyResult]) -> list[TaskMeasures]:
    """Plasticity and stability of each task, over the seeds that fine-tuning has and that can be measured.

    Args:
        group: The runs of a method.
        reference: Fine-tuning by seed.
    """
    used = [result for result in group.results if result.experiment.seed in reference]
    matrices = [relative_matrix(result, reference[result.experiment.seed]) for result in used]

    def mean_of(measure: Callable[[Tensor], Tensor], task: int) -> Range:
        values = [value for matrix in matrices if not math.isnan(value := measure(matrix)[task].item())]
        return bootstrap_mean(values) if values else Range(math.nan, math.nan, math.nan)

    plasticity, stability = reinforcement.plasticity_by_task, reinforcement.stability_by_task
    names = enumerate(group.results[0].names)
    return [TaskMeasures(name, mean_of(plasticity, task), mean_of(stability, task)) for task, name in names]


def begin(result: PolicyResult, task: int) -> int:
    """When training of a task began, in agent steps."""
    return sum(learned.steps for learned in result.history.tasks[:task])
