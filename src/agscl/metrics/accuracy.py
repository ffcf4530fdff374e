r"""Summaries of an accuracy matrix.

Throughout, :math:`R_{ij}` is the accuracy on task :math:`j` after learning task :math:`i`, a full
:math:`T \times T` array. Entries above the diagonal (tasks not learned yet) may be NaN, except where a
function says that it reads them. Where tasks are compared, fewer than two are refused.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor


def average_accuracy(R: ArrayLike) -> float:
    r"""Mean accuracy over all tasks after the last one; higher is better.

    .. math:: \frac1T \sum_j R_{Tj}

    Source: Lopez-Paz & Ranzato (2017), "ACC".

    Example:
        >>> average_accuracy([[0.8, 0.5], [0.4, 1.0]])
        0.7
    """
    return _matrix(R)[-1].mean().item()


def average_accuracy_so_far(R: ArrayLike) -> list[float]:
    r"""Mean accuracy over the tasks so far, after each task; higher is better.

    .. math:: A_t = \frac1t \sum_{j \le t} R_{tj}

    Source: Chaudhry et al. (2018), "A"; the curves of Jung et al. (2020), figures 4 and 5.

    Example:
        >>> average_accuracy_so_far([[0.8, 0.5], [0.4, 1.0]])
        [0.8, 0.7]
    """
    matrix = _matrix(R).tril()
    return (matrix.sum(dim=1) / torch.arange(1, len(matrix) + 1)).tolist()


def learning_accuracy(R: ArrayLike) -> float:
    r"""Mean accuracy on each task right after learning it; higher is better.

    .. math:: \frac1T \sum_i R_{ii}

    Source: Riemer et al. (2019), "LA".

    Example:
        >>> learning_accuracy([[0.8, 0.5], [0.4, 1.0]])
        0.9
    """
    return _matrix(R).diagonal().mean().item()


def backward_transfer(R: ArrayLike) -> float:
    r"""What later tasks added to earlier ones; higher is better, negative means forgetting.

    .. math:: \frac1{T-1} \sum_{i<T} (R_{Ti} - R_{ii})

    Source: Lopez-Paz & Ranzato (2017), "BWT".

    Raises:
        ValueError: If there are fewer than two tasks.

    Example:
        >>> backward_transfer([[0.8, 0.5], [0.4, 1.0]])
        -0.4
    """
    matrix = _matrix(R, at_least=2)
    return (matrix[-1] - matrix.diagonal())[:-1].mean().item()


def forward_transfer(R: ArrayLike, baseline: ArrayLike) -> float:
    r"""What earlier tasks gave to a task before it was learned; higher is better.

    .. math:: \frac1{T-1} \sum_{i \ge 2} (R_{i-1,i} - b_i)

    Source: Lopez-Paz & Ranzato (2017), "FWT".

    Args:
        R: The accuracy matrix; reads the entries right above the diagonal.
        baseline: Accuracy :math:`b_i` of a randomly initialised model on each task, shape ``(T,)``.

    Raises:
        ValueError: If there are fewer than two tasks, or the entries above the diagonal were not measured.

    Example:
        >>> forward_transfer([[0.8, 0.75], [0.4, 1.0]], baseline=[0.5, 0.5])
        0.25
    """
    matrix = _matrix(R, at_least=2)
    ahead = matrix.diagonal(1)
    if ahead.isnan().any():
        raise ValueError("forward transfer reads R[i-1, i]: evaluate each task before it is learned, too")
    return (ahead - _vector(baseline, matrix)[1:]).mean().item()


def forgetting(R: ArrayLike) -> float:
    r"""How far each earlier task fell from its best; lower is better.

    .. math:: \frac1{T-1} \sum_{j<T} \left( \max_{l<T} R_{lj} - R_{Tj} \right)

    Source: Chaudhry et al. (2018), "F". Negative if the last task improved the earlier ones.

    Raises:
        ValueError: If there are fewer than two tasks.

    Example:
        >>> forgetting([[0.8, 0.5], [0.4, 1.0]])
        0.4
    """
    matrix = _matrix(R, at_least=2)
    best = matrix[:-1].nan_to_num(nan=-torch.inf).amax(dim=0)
    return (best - matrix[-1])[:-1].mean().item()


def plasticity(R: ArrayLike, reference: ArrayLike) -> float:
    r"""How well new tasks are learned, relative to a learner that is free to forget; higher is better.

    .. math:: \frac1T \sum_i \frac{R_{ii}}{A^*_i}

    Above 1 where earlier tasks help. Source: Jung et al. (2020), section 4.1, "P".

    Args:
        R: The accuracy matrix.
        reference: Accuracy :math:`A^*_i` of fine-tuning on each task, shape ``(T,)``, or its accuracy matrix,
            shape ``(T, T)``, which has them on the diagonal.

    Raises:
        ValueError: If a reference accuracy is 0.

    Example:
        >>> plasticity([[0.8, 0.5], [0.4, 1.0]], reference=[0.8, 0.8])
        1.125
    """
    matrix = _matrix(R)
    expected = _vector(reference, matrix)
    if (expected == 0).any():
        raise ValueError("plasticity divides by the reference: an accuracy of 0 in it has no meaning")
    return (matrix.diagonal() / expected).mean().item()


def stability(R: ArrayLike) -> float:
    r"""Share of each task's best accuracy that is left at the end; higher is better, 1 is no forgetting.

    .. math:: \frac1T \sum_j \frac{R_{Tj}}{\max_{i \ge j} R_{ij}}

    A task whose accuracy was 0 throughout had nothing to lose and counts as 1.
    Source: Jung et al. (2020), section 4.1, "S".

    Example:
        >>> stability([[0.8, 0.5], [0.4, 1.0]])
        0.75
    """
    matrix = _matrix(R)
    best = matrix.tril().nan_to_num().amax(dim=0)
    return torch.where(best > 0, matrix[-1] / best, torch.ones_like(best)).mean().item()


def intransigence(R: ArrayLike, reference: ArrayLike) -> Tensor:
    r"""How much worse each task was learned than by the reference, shape ``(T,)``; lower is better.

    .. math:: I_k = A^*_k - R_{kk}

    Source: Chaudhry et al. (2018), "I", where the reference learns all tasks so far jointly.

    Args:
        R: The accuracy matrix.
        reference: The reference's accuracy on each task, shape ``(T,)``, or its matrix, shape ``(T, T)``.

    Example:
        >>> intransigence([[0.75, 0.5], [0.5, 1.0]], reference=[1.0, 1.0]).tolist()
        [0.25, 0.0]
    """
    matrix = _matrix(R)
    return _vector(reference, matrix) - matrix.diagonal()


def _matrix(accuracies: ArrayLike, at_least: int = 1) -> Tensor:
    matrix = tensor_of(accuracies)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:  # noqa: PLR2004
        raise ValueError(f"an accuracy matrix is square, (T, T); got shape {tuple(matrix.shape)}")
    if len(matrix) < at_least:
        raise ValueError(f"this measure compares tasks and needs at least {at_least}; got {len(matrix)}")
    if matrix[torch.ones_like(matrix, dtype=torch.bool).tril()].isnan().any():
        raise ValueError("an accuracy of a task that was learned already is NaN (on or below the diagonal)")
    return matrix


def tensor_of(accuracies: ArrayLike) -> Tensor:
    """A list, an array or a tensor of numbers as a tensor in float64.

    Example:
        >>> tensor_of([1, 2])
        tensor([1., 2.], dtype=torch.float64)
    """
    if isinstance(accuracies, Tensor):
        return accuracies.detach().double()
    return torch.from_numpy(np.array(accuracies, dtype=np.float64))


def _vector(accuracies: ArrayLike, matrix: Tensor) -> Tensor:
    vector = tensor_of(accuracies)
    vector = vector.diagonal() if vector.ndim == matrix.ndim else vector
    if vector.shape != matrix.diagonal().shape:
        raise ValueError(f"{len(matrix)} tasks need one accuracy each; got shape {tuple(vector.shape)}")
    return vector
