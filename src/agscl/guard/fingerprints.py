"""Fingerprints of weights: a number for each node, head parameter and shared one, to see later which have moved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from agscl.methods.method import Network
from agscl.nodes.slices import gather

_WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_ODD = 0x1E3779B97F4A7C15
_MIXED = 0x3F58476D1CE4E5B9

UNKNOWN = 0
"""Fingerprint of a node that nothing is promised of."""


def of_nodes(network: Network, chosen: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fingerprints of what comes into nodes, statistics included: by layer, int64, shape ``(num_nodes,)``.

    Args:
        network: The network.
        chosen: By layer, of which nodes: bool, shape ``(num_nodes,)``; `UNKNOWN` stands for the others. All if empty.
    """
    prints = {}
    for layer in network.graph.layers:
        rows = fingerprints(gather(layer.incoming + layer.statistics, network.state))
        prints[layer.name] = torch.where(chosen[layer.name], rows, UNKNOWN) if chosen else rows
    return prints


def of_parameters(network: Network, names: Iterable[str]) -> Tensor:
    """Fingerprints of named tensors of the network, in order: int64, on the CPU."""
    state = network.state
    prints = [fingerprints(state[name].detach().reshape(1, -1)).cpu() for name in names]
    return torch.cat(prints) if prints else torch.zeros(0, dtype=torch.int64)


def fingerprints(rows: Tensor) -> Tensor:
    """A fingerprint of each row: int64, shape ``(rows,)``; one number that changes always shows, more nearly always.

    Both zeros count as the same. The sum wraps around, so that it does not depend on its order, nor on the machine.

    >>> one, other = fingerprints(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).tolist()
    >>> one != other, fingerprints(torch.tensor([[-0.0, 1.0]])).tolist() == [one]
    (True, True)
    """
    rows = (rows + 0.0).contiguous() if rows.is_floating_point() else rows.contiguous()
    words = rows.view(_WORDS[rows.element_size()]).to(torch.int64)
    factor = torch.arange(1, words.shape[1] + 1, device=rows.device) * _ODD
    factor = ((factor ^ (factor >> 31)) * _MIXED) | 1
    return (words * factor).sum(dim=1) | (1 << 62)  # never `UNKNOWN`


def moved(then: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> Iterator[tuple[str, list[int]]]:
    """Layers of which nodes have moved, and which nodes."""
    for name, old in then.items():
        new = now[name].to(old.device)
        if numbers := ((old != UNKNOWN) & (old != new)).nonzero().flatten().tolist():
            yield name, numbers
