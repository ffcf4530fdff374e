"""AGS-CL without its proximal step, for ablations: the penalty's gradient is added to the loss's instead."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from agscl.methods.method import Network
from agscl.nodes.slices import gather, scatter

from .state import NodeState


def add_penalty_gradient(network: Network, state: NodeState, mu: float, lam: float, scale: float | Tensor) -> None:
    """Add the gradient of equation (2)'s penalties; 0 where they have none, at zero and at the anchor.

    Args:
        network: The network, with the task's gradients, times `scale`.
        state: Importance and anchors.
        mu: Strength of the sparsity term (a).
        lam: Strength of the drift term (b); with ``inf`` important nodes get none.
        scale: What the gradients were multiplied with.
    """
    parameters = network.parameters
    for layer in network.graph.layers:
        omega, rows = state.importance[layer.name], gather(layer.incoming, parameters)
        important = omega > 0
        pull = mu * normalize(rows, dim=1)
        pull[important] = 0.0
        if math.isfinite(lam):
            direction = normalize(rows[important] - state.anchors[layer.name], dim=1)
            pull[important] = (lam * omega[important])[:, None] * direction
        names = [piece.parameter for piece in layer.incoming]
        # A parameter without a gradient gets zeros that go nowhere.
        grads = {n: torch.zeros_like(p) if (p := parameters[n]).grad is None else p.grad for n in names}
        scatter(layer.incoming, grads, gather(layer.incoming, grads) + scale * pull)
