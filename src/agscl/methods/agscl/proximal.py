r"""The proximal maps of AGS-CL: exact zeros for free nodes, exact freezing for important ones.

Lemma 1 of Jung et al. (2020): for :math:`f(\theta) = c \|\theta - \theta_0\|_2`,
:math:`\mathrm{prox}_{\alpha f}(v) = \gamma v + (1 - \gamma) \theta_0` with
:math:`\gamma = (1 - \alpha c / \|\theta_0 - v\|_2)_+`. Equation (7) is this map at two points: zero and the anchor.
"""

from __future__ import annotations

import torch
from torch import Tensor


def shrink(weight: Tensor, threshold: Tensor | float) -> Tensor:
    r"""Pull each node's weights towards zero, to exactly zero if they are short enough.

    .. math:: \arg\min_v \tfrac12 \|v - w_u\|_2^2 + t_u \|v\|_2 = (1 - t_u / \|w_u\|_2)_+ \, w_u

    Source: Jung et al. (2020), equation (7), first case; Parikh & Boyd (2014), section 6.5.1.

    Args:
        weight: Group vectors, one row a node, shape ``(num_nodes, I)``.
        threshold: Step size times penalty strength, in units of the weights; one for all nodes or ``(num_nodes,)``.

    >>> shrink(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), threshold=1.0)
    tensor([[2.4000, 3.2000],
            [0.0000, 0.0000]])
    """
    norm = weight.norm(dim=1)
    scale = torch.where(norm > threshold, 1 - threshold / norm, 0.0)
    return scale[:, None] * weight


def attract(weight: Tensor, anchor: Tensor, threshold: Tensor | float) -> Tensor:
    r"""Pull each node's weights towards its anchor, to exactly the anchor if they are near enough.

    .. math:: \arg\min_v \tfrac12 \|v - w_u\|_2^2 + t_u \|v - a_u\|_2

    This is `shrink` in shifted coordinates. Source: Jung et al. (2020), equation (7), second case.

    Args:
        weight: Group vectors, one row a node, shape ``(num_nodes, I)``.
        anchor: What the nodes learned before, same shape.
        threshold: Step size times penalty strength, in units of the weights; one for all nodes or ``(num_nodes,)``.

    >>> attract(torch.tensor([[4.0, 5.0]]), anchor=torch.ones(1, 2), threshold=1.0)
    tensor([[3.4000, 4.2000]])
    >>> attract(torch.tensor([[4.0, 5.0]]), anchor=torch.ones(1, 2), threshold=10.0)
    tensor([[1., 1.]])
    """
    return anchor + shrink(weight - anchor, threshold)
