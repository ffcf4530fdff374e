"""A digest of all that hard freezing promises not to move, so that a change from outside is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from agscl.nodes.slices import gather

from .masks import frozen_into_streams
from .method import Network


def frozen_tensors(network: Network, important: Mapping[str, Tensor], tasks: Iterable[int]) -> list[Tensor]:
    """Group vectors and statistics of important nodes, heads of learned tasks, and what all nodes depend on.

    Args:
        network: The network.
        important: By layer, bool, shape ``(num_nodes,)``.
        tasks: Numbers of the learned tasks.
    """
    names = sorted(network.graph.own_heads(tasks) | {*network.graph.shared, *network.graph.ignored})
    layers, state = [layer for layer in network.graph.layers if layer.kind == "nodes"], network.state
    rows = [gather(layer.incoming + layer.statistics, state)[important[layer.name]] for layer in layers]
    for name, mask in sorted(frozen_into_streams(network, important).items()):
        rows.append(state[name].detach()[mask.expand_as(state[name])])
    rows += [gather(stream.statistics, state) for stream in network.graph.streams if stream.statistics]
    rest = [gather([piece], state) for piece in network.graph.rest]
    return [*rows, *rest, *(state[name].detach() for name in names)]


def digest_of(tensors: Iterable[Tensor]) -> Tensor:
    """SHA-256 of the bytes of tensors, uint8, shape ``(32,)``.

    >>> torch.equal(digest_of([torch.zeros(2)]), digest_of([torch.tensor([0.0, 1e-30])]))
    False
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.cpu().flatten().view(torch.uint8).numpy().tobytes())
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)


def require_unchanged(digest: Tensor, tensors: Iterable[Tensor]) -> None:
    """Refuse tensors with another digest.

    Raises:
        ValueError: If they have changed since the digest was taken.
    """
    if not torch.equal(digest, digest_of(tensors)):
        raise ValueError(
            "weights or running statistics that earlier tasks rely on were changed outside attach(); load the "
            "weights that belong to this guard's state, or protect the model anew"
        )
