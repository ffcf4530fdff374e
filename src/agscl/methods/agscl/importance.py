"""Importance of nodes: their average activation, accumulated over tasks, equation (8)."""

from __future__ import annotations

import torch
from torch import Tensor

from agscl.methods.method import Learned, Network
from agscl.nodes import Activity
from agscl.nodes.surgery.replaced import replaced_tensors
from agscl.processes import sum_with_counts


def average_activation(network: Network, learned: Learned, *, once: bool = False) -> dict[str, Tensor]:
    """Mean activation of every node over a task's data, by layer, each of shape ``(num_nodes,)``.

    The model must be in eval mode. Every sample counts the same, whatever batch it comes in.

    Args:
        network: The network.
        learned: The task.
        once: Take half the time where that does, see `Activity.watching`.

    Raises:
        ValueError: If there is no data, predict's calls cannot be followed, or an activation is not finite.
    """
    activity = Activity(network.model, network.graph, replaced_tensors)
    with activity.watching(once=once):
        for batch in learned.batches:
            learned.predict(batch)
    means = activity.means(sum_with_counts)
    if odd := [name for name, mean in means.items() if not mean.isfinite().all()]:
        raise ValueError(f"the activations of {odd[0]!r} are not finite: the task has diverged")
    return means


def accumulate(importance: Tensor, activation: Tensor, eta: float) -> Tensor:
    r"""``omega <- eta * omega + activation``, equation (8); a node once important never falls back to zero.

    Args:
        importance: Importance so far, shape ``(num_nodes,)``.
        activation: Average activation on the new task, same shape.
        eta: Discount of the past.

    >>> accumulate(torch.tensor([2.0, 0.0, 0.0]), torch.tensor([1.0, 3.0, 0.0]), eta=0.5)
    tensor([2., 3., 0.])
    """
    updated = eta * importance + activation
    return torch.where(importance > 0, updated.clamp_min(torch.finfo(updated.dtype).tiny), updated)
