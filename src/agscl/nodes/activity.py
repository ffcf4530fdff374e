"""Activity: the average activation of every node over the data, equation (8)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from .graph import NodeGraph
from .tracing.exported import on_model

Total = Callable[[dict[str, Tensor], int], tuple[dict[str, Tensor], int]]
"""Maps sums over samples and the number of samples to those over more samples."""


def _as_they_are(sums: dict[str, Tensor], samples: int) -> tuple[dict[str, Tensor], int]:
    return sums, samples


class Activity:
    """Accumulates each node's mean absolute activation over all samples and positions that it is shown.

    For ReLU networks this is the mean activation of Jung et al. (2020), equation (8). A node that is read at
    several places counts the mean over them. Exactly zero means: not active on any sample.

    Args:
        model: The traced model, with its current weights.
        graph: Its node graph.

    >>> from agscl import trace
    >>> model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))
    >>> model[0].weight.data[:] = torch.tensor([[1.0], [-1.0]])
    >>> activity = Activity(model, trace(model, torch.ones(2, 1)))
    >>> activity.observe((torch.tensor([[1.0], [3.0]]),), {})
    >>> activity.means()
    {'0': tensor([2., 0.])}
    """

    def __init__(self, model: nn.Module, graph: NodeGraph) -> None:
        self._probe = on_model(model, graph.probe, graph.constants)
        self._signature = inspect.signature(model.forward)
        self._inputs = [str(node.target) for node in graph.probe.nodes if node.op == "placeholder"]
        self._layers = graph.layers
        self._keep = {reading.output: reading.keep for layer in graph.layers for reading in layer.readings}
        self._sums: dict[int, Tensor] = {}
        self._samples = 0

    @torch.no_grad()
    def observe(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Add one batch: the arguments of a call of the model."""
        given = self._signature.bind(*args, **kwargs).arguments
        if missing := [name for name in self._inputs if name not in given]:
            raise ValueError(f"the model was traced with the argument {missing[0]!r}; call it with that as well")
        extra = [name for name in given if name not in self._inputs]
        if new := [name for name in extra if any(isinstance(leaf, Tensor) for leaf in tree_leaves(given[name]))]:
            raise ValueError(f"the model was traced without the argument {new[0]!r}; give it in example_inputs as well")
        outputs = self._probe(*(given[name] for name in self._inputs))
        for number, keep in self._keep.items():
            magnitude = outputs[number].abs()
            positions = [dim for dim in range(1, magnitude.ndim) if dim not in keep]
            each = magnitude.mean(positions, dtype=torch.float64) if positions else magnitude.double()
            total = each.sum(0).flatten()
            self._sums[number] = self._sums.get(number, torch.zeros_like(total)) + total
        self._samples += len(next(leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)))

    def means(self, total: Total = _as_they_are) -> dict[str, Tensor]:
        """Average activation of each layer's nodes, by layer name, float32, shape ``(num_nodes,)``.

        Args:
            total: Adds the samples that others have observed, such as `agscl.processes.sum_with_counts`.

        Raises:
            ValueError: If no sample was observed.
        """
        device = next(self._probe.parameters()).device
        own = {
            f"{layer.name}.{number}": self._sums[reading.output][reading.index].mean(dim=1)
            if self._samples
            else torch.zeros(layer.num_nodes, dtype=torch.float64, device=device)
            for layer in self._layers
            for number, reading in enumerate(layer.readings)
        }
        sums, samples = total(own, self._samples)
        if samples == 0:
            raise ValueError("no data to measure importance on: the batches are empty or never reach the model")
        means = {}
        for layer in self._layers:
            by_reading = [sums[f"{layer.name}.{number}"] / samples for number in range(len(layer.readings))]
            means[layer.name] = torch.stack(by_reading).mean(dim=0).float()
        return means
