"""The two group penalties of AGS-CL, equation (2). Training never differentiates them: it takes their proximal maps."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from agscl.nodes import NodeGraph
from agscl.nodes.slices import gather


def sparsity_penalty(weight: Tensor, mu: float) -> Tensor:
    r"""Term (a): :math:`\mu \sum_n \|\theta_n\|_2` over unimportant nodes, shape ``()``.

    Args:
        weight: Group vectors of unimportant nodes, shape ``(num_nodes, I)``.
        mu: Strength.

    >>> import torch
    >>> sparsity_penalty(torch.tensor([[3.0, 4.0], [0.0, 2.0]]), mu=10.0)
    tensor(70.)
    """
    length: Tensor = weight.norm(dim=1)
    return mu * length.sum()


def drift_penalty(weight: Tensor, anchor: Tensor, importance: Tensor, lam: float) -> Tensor:
    r"""Term (b): :math:`\lambda \sum_n \Omega_n \|\theta_n - \hat\theta_n\|_2` over important nodes, shape ``()``.

    Args:
        weight: Group vectors of important nodes, shape ``(num_nodes, I)``.
        anchor: What they learned before, same shape.
        importance: Their importance, shape ``(num_nodes,)``.
        lam: Strength.

    >>> import torch
    >>> weight, anchor = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)
    >>> drift_penalty(weight, anchor, importance=torch.tensor([0.5]), lam=2.0)
    tensor(5.)
    """
    drift: Tensor = (weight - anchor).norm(dim=1)
    return lam * (importance * drift).sum()


def lasso_reach(graph: NodeGraph, state: Mapping[str, Tensor], mu: float, total_rate: float) -> float:
    r"""Share of a node's initial norm that the group Lasso can remove while a task is learned.

    A proximal step, equation (7), takes at most :math:`\mu` times the learning rate from the norm of a group vector.
    Below 1 no average node that the loss leaves alone becomes zero: nodes are free because their activation died.

    Args:
        graph: The nodes.
        state: The tensors of the untrained network by name.
        mu: Strength.
        total_rate: Sum of the learning rates of all proximal steps of a task, if it does not fall.

    Returns:
        The length that can be removed, divided by the mean initial norm of all nodes; infinite if that is 0.

    >>> import agscl
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(50, 400), torch.nn.ReLU(), torch.nn.Linear(400, 3))
    >>> graph = agscl.trace(model, torch.zeros(2, 50), heads="2")
    >>> round(lasso_reach(graph, model.state_dict(), mu=10, total_rate=15 * 1e-3), 2)  # 15 epochs
    0.26
    """
    norms = torch.cat([gather(layer.incoming, state).norm(dim=1) for layer in graph.layers])
    return mu * total_rate / mean if (mean := norms.mean().item()) else math.inf
