r"""Measures of continual reinforcement learning: pure functions of scores.

Raw scores of different games do not compare, and ratios of them break on zero or negative ones. All measures here but
CORA's therefore take *relative* scores: 0 is what random actions get, 1 is what the reference gets, see `relative`.
Throughout, :math:`A_{ij}` is the relative score on task :math:`j` after learning task :math:`i`, shape ``(T, T)``; NaN
above the diagonal where tasks were not evaluated before they were learned. Means are over the tasks that can be
measured, NaN if there is none.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .accuracy import tensor_of
from .interval import Range, bootstrap


def relative(scores: ArrayLike, random: ArrayLike, reference: ArrayLike) -> Tensor:
    r"""Scores on a scale where random actions are 0 and the reference is 1.

    .. math:: (s - s_\text{random}) / (s_\text{reference} - s_\text{random})

    Source: Mnih et al. (2015), with their human replaced by a reference agent. Jung et al. (2020) divide by the
    reference alone, which is the same with ``random=0``.

    Args:
        scores: Raw scores, the tasks along the last dimension, shape ``(..., T)``.
        random: Raw score of random actions on each task, shape ``(T,)``.
        reference: Raw score of the reference on each task, shape ``(T,)``.

    Returns:
        Shape ``(..., T)``; NaN for a task on which the reference is no better than random actions.

    Example:
        >>> relative([30.0, 5.0], random=[10.0, 5.0], reference=[50.0, 5.0]).tolist()
        [0.5, nan]
    """
    scores, random, reference = (tensor_of(values) for values in (scores, random, reference))
    span = reference - random
    return torch.where(span > 0, (scores - random) / span, torch.nan)


def accumulated(relative_scores: ArrayLike) -> Tensor:
    """Sum of the relative scores over tasks at every time, shape ``(times,)`` of ``(times, T)``; NaN counts as 0.

    Source: Jung et al. (2020), section 4.2, figure 7(a).

    Args:
        relative_scores: Shape ``(times, T)``; NaN where a task was not learned yet or not measurable, counted as 0.

    Example:
        >>> accumulated([[0.5, float("nan")], [1.0, 0.25]]).tolist()
        [0.5, 1.25]
    """
    return tensor_of(relative_scores).nan_to_num(nan=0.0).sum(dim=-1)


def plasticity_by_task(A: ArrayLike) -> Tensor:
    r"""How well each task was learned relative to the reference, shape ``(T,)``.

    .. math:: P_i = A_{ii}

    Source: Jung et al. (2020), section 4.2, :math:`A_{ii} / A^*_i` with raw scores.

    Example:
        >>> plasticity_by_task([[1.0, 0.0], [0.5, 0.75]]).tolist()
        [1.0, 0.75]
    """
    return _square(A).diagonal()


def stability_by_task(A: ArrayLike) -> Tensor:
    r"""Share of each task's best score that is left at the end, shape ``(T,)``.

    .. math:: S_j = A_{Tj} / \max_{j \le i \le T} A_{ij}

    NaN for a task that was never better than random actions: there is nothing that could be kept.
    Source: Jung et al. (2020), section 4.2.

    Example:
        >>> stability_by_task([[1.0, 0.0], [0.5, 0.75]]).tolist()
        [0.5, 1.0]
    """
    matrix = _square(A)
    best = torch.stack([matrix[task:, task].max() for task in range(len(matrix))])
    return torch.where(best > 0, matrix[-1] / best, torch.nan)


def performance(A: ArrayLike) -> float:
    r"""Mean relative score over all tasks at the end; higher is better.

    .. math:: \frac1T \sum_j A_{Tj}

    Source: Wolczyk et al. (2021), Continual World, section 4.

    Example:
        >>> performance([[1.0, 0.0], [0.5, 0.75]])
        0.625
    """
    return _square(A)[-1].nanmean().item()


def reward_forgetting(A: ArrayLike) -> float:
    r"""Mean fall from right after a task was learned to the end; lower is better.

    .. math:: \frac1T \sum_i (A_{ii} - A_{Ti})

    Source: Wolczyk et al. (2021), Continual World, section 4.

    Example:
        >>> reward_forgetting([[1.0, 0.0], [0.5, 0.75]])
        0.25
    """
    matrix = _square(A)
    return (matrix.diagonal() - matrix[-1]).nanmean().item()


def reward_transfer(curves: ArrayLike, reference_curves: ArrayLike) -> float:
    r"""How much faster tasks are learned than from nothing; higher is better, 0 is no difference.

    .. math:: \frac1T \sum_i \frac{\text{AUC}_i - \text{AUC}^\text{ref}_i}{1 - \text{AUC}^\text{ref}_i}

    :math:`\text{AUC}_i` is the mean relative score on task i while it is learned, cut to [0, 1] as success rates are.
    Source: Wolczyk et al. (2021), Continual World, section 4.

    Args:
        curves: Relative scores on each task at evenly spaced times while it was learned, shape ``(T, times)``.
        reference_curves: The same of an agent that learned each task alone.

    Example:
        >>> reward_transfer([[0.5, 1.0]], [[0.0, 1.0]])
        0.5
    """
    area, reference = (tensor_of(values).clamp(0, 1).mean(dim=-1) for values in (curves, reference_curves))
    return torch.where(reference < 1, (area - reference) / (1 - reference), torch.nan).nanmean().item()


def isolated_forgetting(scores: ArrayLike) -> Tensor:
    r"""How much learning task j took from task i, :math:`i < j`, shape ``(T, T)`` as ``[i, j]``; NaN elsewhere.

    .. math:: F_{ij} = (r_{i,j-1} - r_{ij}) / |r_i|_\text{max}

    :math:`r_{ij}` is the raw score on task i after task j. Source: Powers et al. (2022), CORA, section 4.

    Args:
        scores: Raw scores before any task (row 0) and after each, shape ``(T + 1, T)``.

    Example:
        >>> isolated_forgetting([[0.0, 0.0], [4.0, 1.0], [1.0, 2.0]]).tolist()
        [[nan, 0.75], [nan, nan]]
    """
    changes = _changes(scores)
    return torch.where(torch.ones_like(changes, dtype=torch.bool).triu(diagonal=1), -changes, torch.nan)


def isolated_transfer(scores: ArrayLike) -> Tensor:
    r"""How much learning task j gave to task i before it was learned, :math:`j < i`, shape ``(T, T)``; NaN elsewhere.

    .. math:: Z_{ij} = (r_{ij} - r_{i,j-1}) / |r_i|_\text{max}

    Source: Powers et al. (2022), CORA, section 4, zero-shot forward transfer.

    Args:
        scores: Raw scores before any task (row 0) and after each, unseen tasks included, shape ``(T + 1, T)``.

    Example:
        >>> isolated_transfer([[0.0, 0.0], [4.0, 1.0], [1.0, 2.0]]).tolist()
        [[nan, nan], [0.5, nan]]
    """
    changes = _changes(scores)
    return torch.where(torch.ones_like(changes, dtype=torch.bool).tril(diagonal=-1), changes, torch.nan)


def _changes(scores: ArrayLike) -> Tensor:
    """Change of each task's score (row) by learning each task (column), over the task's largest absolute score."""
    raw = tensor_of(scores)
    if raw.ndim != 2 or raw.shape[0] != raw.shape[1] + 1:  # noqa: PLR2004
        raise ValueError(f"scores before any task and after each have shape (T + 1, T), got {tuple(raw.shape)}")
    largest = raw.nan_to_num().abs().amax(dim=0)
    changes = raw.diff(dim=0).T
    return torch.where(largest[:, None] > 0, changes / largest[:, None], 0.0 * changes)


def _square(A: ArrayLike) -> Tensor:
    matrix = tensor_of(A)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:  # noqa: PLR2004
        raise ValueError(f"relative scores after each task have shape (T, T), got {tuple(matrix.shape)}")
    return matrix


def bootstrap_mean(values: Sequence[float]) -> Range:
    """Mean of independent runs with its 95 % interval, see `bootstrap`.

    Raises:
        ValueError: If there are no values.

    Example:
        >>> bootstrap_mean([1.0])
        Range(value=1.0, low=nan, high=nan)
    """
    return bootstrap(values, lambda runs: runs.mean(dim=-1))
