r"""AOPC: how much worse a model predicts as its nodes are pruned, in an order that importance gives.

If importance means something, pruning the most important nodes first hurts at once, the least important ones last.
Samek et al. (2017) defined it for pixels; Jung et al. (2020), figure 3, prune nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from agscl.nodes.graph import NodeLayer
from agscl.nodes.slices import fill

Order = Literal["highest", "lowest", "random"]
"""Which nodes are pruned first."""


def aopc(scores: Sequence[float]) -> list[float]:
    r"""Area over the prediction curve, after each step of pruning; steeper is better for "highest" first.

    .. math:: \mathrm{AOPC}_L = \frac{1}{L+1} \sum_{k=0}^{L} \left( f(0) - f(k) \right)

    Source: Samek et al. (2017), equation (12).

    Args:
        scores: :math:`f(k)`, the score with nothing pruned (:math:`k = 0`) and after each step.

    Returns:
        One value for each score, in its units; the first is 0.

    Example:
        >>> aopc([1.0, 0.5, 0.25])
        [0.0, 0.25, 0.4166666666666667]
    """
    values = torch.tensor(scores, dtype=torch.float64)
    drops = values[:1] - values
    return (drops.cumsum(0) / torch.arange(1, len(values) + 1)).tolist()


def prediction_curve(
    model: nn.Module,
    layers: Sequence[NodeLayer],
    ranking: Mapping[str, Tensor],
    score: Callable[[], float],
    ratios: Sequence[float],
) -> list[float]:
    """The score of a model at each ratio of nodes pruned; its weights are restored at the end.

    The same share of every layer is pruned (importances of different layers have different scales). A pruned node
    has zeros for all that comes into it, so that it says nothing to any layer behind it.

    Args:
        model: Any traced model.
        layers: Its nodes, `NodeGraph.layers`.
        ranking: By layer, its nodes in the order of pruning, int64, shape ``(num_nodes,)``; see `pruning_order`.
        score: What the model is worth now, such as its accuracy on a task.
        ratios: Shares of the nodes to prune, in [0, 1], ascending.

    Raises:
        ValueError: If the ratios do not ascend from 0 to 1.

    Returns:
        One score for each ratio.

    Example:
        >>> from agscl.nodes import trace
        >>> model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> layers, weights = trace(model, torch.ones(1, 1), heads="2").layers, model[0].weight
        >>> prediction_curve(model, layers, {"0": torch.tensor([1, 0])}, lambda: int((weights != 0).sum()), [0, 0.5, 1])
        [2, 1, 0]
    """
    if sorted(ratios) != list(ratios) or not all(0 <= ratio <= 1 for ratio in ratios):
        raise ValueError(f"ratios of pruning ascend and lie in [0, 1], got {list(ratios)}")
    state = {name: tensor.detach() for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
    kept = {piece.parameter: state[piece.parameter].clone() for layer in layers for piece in layer.incoming}
    scores = []
    try:
        for ratio in ratios:
            for layer in layers:
                first = ranking[layer.name][: round(ratio * layer.num_nodes)]
                fill(layer.incoming, state, first.to(layer.incoming[0].index.device), 0.0)
            scores.append(score())
    finally:
        for name, tensor in kept.items():
            state[name].copy_(tensor)
    return scores


def pruning_order(
    importance: Mapping[str, Tensor], order: Order, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """By layer, its nodes in the order in which they are pruned, int64, shape ``(num_nodes,)``.

    Args:
        importance: Importance of each layer's nodes, such as `Guard.importance`.
        order: Highest importance first, lowest first, or at random. Ties go by position.
        generator: Draws the random order; needed for that one alone.

    Example:
        >>> pruning_order({"fc1": torch.tensor([0.5, 0.0, 2.0])}, "highest")["fc1"].tolist()
        [2, 0, 1]
    """
    if order == "random":
        return {name: torch.randperm(len(omega), generator=generator) for name, omega in importance.items()}
    return {name: omega.cpu().argsort(descending=order == "highest", stable=True) for name, omega in importance.items()}
