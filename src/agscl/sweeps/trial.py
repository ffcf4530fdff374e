"""A trial: one set of values of one method, and how it did on the validation examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, median
from typing import Any, Literal

from torch import Tensor

State = Literal["complete", "pruned", "failed"]
"""How a trial ended."""

FEWEST = 4
"""Trials that got as far as another before it can be found worse than most of them."""


@dataclass(frozen=True)
class Trial:
    """A set of values that was tried.

    Attributes:
        method: Name of the method.
        number: Of the trial, from 0.
        values: What was searched, by option.
        state: How it ended: with a score, given up because it was worse than most, or without a result.
        steps: For each tuning seed that it got to, the mean accuracy on the validation examples of all tasks so far,
            after each task.
        reason: Why it has no score, in one line.
        seconds: Of its runs.
    """

    method: str
    number: int
    values: Mapping[str, Any]
    state: State
    steps: Sequence[Sequence[float]] = field(default=())
    reason: str = ""
    seconds: float = 0.0

    @property
    def score(self) -> float | None:
        """Mean over the seeds of the accuracy after the last task; `None` if it did not complete."""
        return fmean(row[-1] for row in self.steps) if self.state == "complete" else None

    def reached(self, seed: int, tasks: int) -> float | None:
        """Its accuracy on one of the tuning seeds after so many tasks; `None` if it did not get there."""
        return self.steps[seed][tasks - 1] if seed < len(self.steps) and tasks <= len(self.steps[seed]) else None

    def record(self) -> dict[str, Any]:
        """The trial as JSON."""
        return {**asdict(self), "score": self.score}


def mean_so_far(matrix: Tensor) -> list[float]:
    """Mean accuracy over the tasks so far, after each task, from a matrix of shape ``(T, T)``.

    >>> import torch
    >>> mean_so_far(torch.tensor([[1.0, torch.nan], [0.5, 0.75]]))
    [1.0, 0.625]
    """
    return [float(row[: after + 1].mean()) for after, row in enumerate(matrix)]


def worse_after(
    steps: Sequence[float], seed: int, earlier: Sequence[Trial], last: tuple[int, int] | None = None
) -> int | None:
    """After how many tasks a run was first worse than most earlier trials after as many tasks; `None` if never.

    Only trials of the same method on the same seed after the same number of tasks are compared: accuracy falls as tasks
    come, so that no other comparison means anything. Too few of them decide nothing.

    Args:
        steps: Of the run: mean accuracy over the tasks so far, after each task.
        seed: Which of the tuning seeds it is, from 0.
        earlier: Trials of the method that the decision stands on.
        last: The seed and the number of tasks at which a trial is complete, and nothing is left to be spared.

    >>> tried = [Trial("ewc", n, {}, "complete", [[0.9, score]]) for n, score in enumerate((0.5, 0.6, 0.7, 0.8))]
    >>> worse_after([0.9, 0.64], 0, tried), worse_after([0.9, 0.66], 0, tried), worse_after([0.9], 0, tried[1:])
    (2, None, None)
    """
    for tasks, value in enumerate(steps, 1):
        others = [found for trial in earlier if (found := trial.reached(seed, tasks)) is not None]
        if (seed, tasks) != last and len(others) >= FEWEST and value < median(others):
            return tasks
    return None


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The trial of the highest score; `None` if none is complete.

    Of several that are as good, the one in their middle by the method's strength (its first value; of two in the middle
    the weaker): where many strengths do equally well, it is the farthest from those that do not.

    >>> tried = [Trial("ewc", n, {"lam": lam}, "complete", [[1.0]]) for n, lam in enumerate((10.0, 1e4, 100.0))]
    >>> best_of(tried).values
    {'lam': 100.0}
    """
    complete = [trial for trial in trials if trial.score is not None]
    if not complete:
        return None
    highest = max(trial.score or 0.0 for trial in complete)
    alike = [trial for trial in complete if trial.score == highest]
    return sorted(alike, key=lambda trial: next(iter(trial.values.values()), 0))[(len(alike) - 1) // 2]
