"""What an answer costs: numbers that it takes, and floating point operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from agscl.nodes.graph import NodeLayer
from agscl.nodes.slices import mark


class InferenceCost(NamedTuple):
    """Cost of one answer.

    Attributes:
        flops: Floating point operations for one sample, as `torch.utils.flop_counter` counts them: two for each
            multiplication of a weight; biases and activations are free.
        parameters: Numbers that it takes to compute it.
    """

    flops: int
    parameters: int


def inference_cost(
    model: nn.Module, layers: Sequence[NodeLayer], removed: Mapping[str, Tensor], answer: Callable[[], Any]
) -> InferenceCost:
    """What one answer costs once nodes are removed, with all that comes into them and all that reads them.

    Operations with a weight that no layer of its own holds are counted in full.

    Args:
        model: Any model.
        layers: Its nodes, `NodeGraph.layers`; none for the cost of the full model.
        removed: By layer, which nodes are removed, such as `zero_nodes`: bool, shape ``(num_nodes,)``.
        answer: Calls the model on one sample, such as ``lambda: model(x[:1], task)``; only what it uses is counted.

    Example:
        >>> from agscl.nodes import trace
        >>> model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.zeros(1, 3)
        >>> layers = trace(model, x, heads="2").layers
        >>> inference_cost(model, layers, {"0": torch.tensor([False, True, True, True])}, lambda: model(x))
        InferenceCost(flops=10, parameters=8)
    """
    parameters = dict(model.named_parameters())
    gone = {name: torch.zeros_like(parameter, dtype=torch.bool) for name, parameter in parameters.items()}
    pieces = [(piece, removed[layer.name]) for layer in layers for piece in layer.incoming + layer.outgoing]
    for (name, dim), positions in mark(pieces, parameters).items():
        gone[name].index_fill_(dim, positions.nonzero().flatten(), True)
    kept = {name: int((~mask).sum()) for name, mask in gone.items()}
    flops, modules = _count(model, answer)
    for name, count in modules.items():
        weight, is_layer = f"{name}.weight", not any(model.get_submodule(name).children())
        if is_layer and weight in kept:
            flops -= count * int(gone[weight].sum()) // gone[weight].numel()
    return InferenceCost(flops, sum(count for name, count in kept.items() if name.rpartition(".")[0] in modules))


def _count(model: nn.Module, answer: Callable[[], Any]) -> tuple[int, dict[str, int]]:
    """Operations of an answer: all of them, and those of each module with parameters of its own that it called."""
    modules: dict[str, int] = {}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:

        def count(name: str, sign: int) -> Callable[..., None]:
            def hook(*_: Any) -> None:
                modules[name] = modules.get(name, 0) + sign * counter.get_total_flops()

            return hook

        owners = [(name, module) for name, module in model.named_modules() if module._parameters]
        handles = [module.register_forward_pre_hook(count(name, -1)) for name, module in owners]
        handles += [module.register_forward_hook(count(name, 1)) for name, module in owners]
        try:
            answer()
        finally:
            for handle in handles:
                handle.remove()
        return counter.get_total_flops(), modules
