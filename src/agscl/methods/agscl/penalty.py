"""The two group penalties of AGS-CL, equation (2). Training never differentiates them: it takes their proximal maps."""

from __future__ import annotations

from torch import Tensor


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
