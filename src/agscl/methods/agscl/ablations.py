"""AGS-CL without its proximal step, for ablations: the penalty's gradient is added to the loss's instead."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from agscl.methods.method import Network
from agscl.methods.user_frozen import columns_of
from agscl.nodes.slices import gather, scatter

from .state import NodeState, penalised


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
    for layer in penalised(network):
        trained = network.trained(layer.incoming)
        if not trained:
            continue
        rows, omega = gather(trained, parameters), state.importance[layer.name]
        important = omega > 0
        pull = mu * normalize(rows, dim=1)
        pull[important] = 0.0
        if math.isfinite(lam):
            drift = rows[important] - columns_of(trained, layer.incoming, state.anchors[layer.name], parameters)
            pull[important] = (lam * omega[important])[:, None] * normalize(drift, dim=1)
        chosen = {piece.parameter: parameters[piece.parameter] for piece in trained}
        # A parameter without a gradient gets zeros that go nowhere.
        grads = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in chosen.items()}
        scatter(trained, grads, gather(trained, grads) + scale * pull)
