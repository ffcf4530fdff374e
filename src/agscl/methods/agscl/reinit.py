"""Re-initialisation: zero what leaves an unimportant node (I.1), then re-initialise what comes into it (I.2).

The order matters: a connection between two unimportant nodes is zeroed first and may be drawn again, so that the next
task can use both; one into an important node is masked for ever. Jung et al. (2020), section 3.4.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from agscl.methods.method import Network
from agscl.nodes import NodeGraph
from agscl.nodes.slices import fill, gather, scatter
from agscl.processes import from_first
from agscl.tensors import prefixed


def zero_init(network: Network, free: Mapping[str, Tensor], task: int) -> None:
    """(I.1) Zero every weight that leaves a free node into the next layers and the head just learned.

    Weights that the user has frozen (``requires_grad=False``) stay; `require_needed` has kept what they need.

    Args:
        network: The network, changed in place.
        free: By layer, which nodes are unimportant: bool, shape ``(num_nodes,)``.
        task: The task just learned.
    """
    other_heads = network.graph.head_parameters - network.graph.head_of(task)
    for layer in network.graph.layers:
        leaving = [piece for piece in network.trained(layer.outgoing) if piece.parameter not in other_heads]
        fill(leaving, network.state, free[layer.name], 0.0)


def draw(network: Network, rho: float) -> dict[str, Tensor]:
    """Fresh weights and statistics for all nodes from their layers' own initialisers, and a number in [0, 1) a node.

    They come from torch's global generator, in many processes from that of the first; ``rho=0`` draws nothing.

    Returns:
        The fresh tensors by name, and by ``uniform.{layer}`` the numbers, shape ``(num_nodes,)``.
    """
    if rho == 0:
        return {}
    places = {layer.name: layer.incoming[0].index for layer in network.graph.layers}
    fresh = initial_tensors(network)
    uniform = {name: torch.rand(len(index), device=index.device) for name, index in places.items()}
    drawn = {**fresh, **prefixed(uniform=uniform)}
    from_first(drawn)
    return drawn


@torch.no_grad()
def rand_init(network: Network, free: Mapping[str, Tensor], rho: float, drawn: Mapping[str, Tensor]) -> None:
    """(I.2) Re-initialise what comes into a free node, with probability `rho`, with what `draw` gave.

    The affine pair and the statistics of a norm layer behind it begin anew with it. Weights that the user has frozen
    stay, and so do statistics behind them.
    """
    state = network.state
    layers = [layer for layer in network.graph.layers if layer.kind == "nodes"]
    for layer in layers if rho > 0 else ():
        chosen = free[layer.name] & (drawn[f"uniform.{layer.name}"] < rho)
        trained = network.trained(layer.incoming)
        slices = trained + layer.statistics if len(trained) == len(layer.incoming) else trained
        if slices:
            scatter(slices, state, torch.where(chosen[:, None], gather(slices, drawn), gather(slices, state)))


def initial_tensors(network: Network) -> dict[str, Tensor]:
    """The state of every module with nodes as its own initialiser draws it, by name."""
    fresh: dict[str, Tensor] = {}
    for owner in _owners(network.graph):
        module = copy.deepcopy(network.model.get_submodule(owner))
        _initialiser(network.model, owner, module)()
        fresh.update({f"{owner}.{name}".lstrip("."): tensor for name, tensor in module.state_dict().items()})
    return fresh


def check_initialisers(model: nn.Module, graph: NodeGraph) -> None:
    """Refuse a model with a layer that cannot be re-initialised.

    Raises:
        ValueError: If a module with nodes has no ``reset_parameters()``.
    """
    for name in _owners(graph):
        if not callable(_initialiser(model, name, model.get_submodule(name))):
            kind = type(model.get_submodule(name)).__name__
            raise ValueError(
                f"{name or 'the model'!r} ({kind}) has no reset_parameters() to draw its nodes anew; "
                "give it one, or use a method or setting that re-initialises nothing (AGS-CL: rho=0)"
            )


def _initialiser(model: nn.Module, name: str, module: nn.Module) -> Any:
    """What draws a module's parameters anew, if there is such a thing: its own, or that of a model that it is part of.

    Models of transformers have one for all of their modules, ``_init_weights(module)``.
    """
    own = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    steps = name.split(".")
    around: list[Any] = [model.get_submodule(".".join(steps[:depth])) for depth in reversed(range(len(steps)))]
    whole = next((outer._init_weights for outer in around if callable(getattr(outer, "_init_weights", None))), None)
    return own or (partial(whole, module) if whole else None)


def _owners(graph: NodeGraph) -> list[str]:
    """Modules with nodes that can be drawn anew, which streams are not."""
    layers = [layer for layer in graph.layers if layer.kind == "nodes"]
    pieces = [piece for layer in layers for piece in layer.incoming + layer.statistics]
    return list(dict.fromkeys(piece.parameter.rpartition(".")[0] for piece in pieces))
