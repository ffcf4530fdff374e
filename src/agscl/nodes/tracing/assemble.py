"""From the ledger of a trace to the node graph: group units that are alike into layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, fx, nn

from agscl.nodes.graph import Head, NodeGraph, NodeLayer, Reading, Site, Slice

from .call import TraceError
from .ledger import Ledger
from .units import NO_UNIT

_ROLES = ("incoming", "outgoing", "statistics", "sites")


@dataclass
class _Unit:
    """Where one unit occurs: positions by role, tensor and dimension, and by reading."""

    positions: dict[tuple[str, str, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    readings: dict[fx.Node, list[int]] = field(default_factory=lambda: defaultdict(list))

    def signature(self) -> tuple[object, ...]:
        """Units with equal signatures form a layer."""
        return (
            *((entry, len(positions)) for entry, positions in self.positions.items()),
            *((node, len(positions)) for node, positions in self.readings.items()),
        )

    def is_node(self) -> bool:
        """Whether something trainable comes into it and something reads it."""
        return {"incoming", "outgoing"} <= {role for role, _, _ in self.positions}


def assemble(
    model: nn.Module, graph: fx.Graph, ledger: Ledger, heads: tuple[str, ...] | None, num_inputs: int
) -> NodeGraph:
    """The node graph of a labelled trace; heads are inferred where none are named."""
    units = _collect(ledger)
    exposed = {unit for ids in ledger.exposed for unit in ledger.units.roots(ids).tolist()}
    nodes = [where for unit, where in units.items() if where.is_node() and unit not in exposed]
    if heads is None:
        heads = _head_modules(model, [where for where in units.values() if not where.is_node()])
    sources = list(ledger.readings)
    named_heads = tuple(_head(model, name) for name in heads)
    called = {name for name, _ in ledger.outgoing}
    layers = tuple(
        replace(layer, outgoing=_outgoing(model, layer, named_heads, called))
        for layer in _layers(nodes, sources, ledger, next(model.parameters()).device)
    )
    names = {name for name, _ in model.named_parameters()}
    reached = {piece.parameter for layer in layers for piece in layer.incoming + layer.outgoing} | ledger.shared
    reached |= {name for head in named_heads for name in head.parameters} | {name for name, _ in ledger.incoming}
    return NodeGraph(
        layers=layers,
        heads=named_heads,
        shared=tuple(sorted(ledger.shared)),
        unreached=tuple(sorted(names - reached)),
        probe=_probe(graph, sources, num_inputs),
    )


def _collect(ledger: Ledger) -> dict[int, _Unit]:
    units: dict[int, _Unit] = defaultdict(_Unit)
    for role in _ROLES:
        for (name, dim), ids in getattr(ledger, role).items():
            for position, unit in enumerate(ledger.units.roots(ids).tolist()):
                units[unit].positions[role, name, dim].append(position)
    for node, read in ledger.readings.items():
        wanted = set(ledger.units.roots(read).tolist())
        for position, unit in enumerate(ledger.units.roots(ledger.labels[node].flatten()).tolist()):
            if unit in wanted:
                units[unit].readings[node].append(position)
    units.pop(NO_UNIT, None)
    return dict(sorted(units.items()))


def _layers(
    units: Iterable[_Unit], sources: list[fx.Node], ledger: Ledger, device: torch.device
) -> Iterable[NodeLayer]:
    """Layers of units that are alike, each named after the module of its first producer."""
    alike: dict[tuple[object, ...], list[_Unit]] = defaultdict(list)
    for unit in units:
        alike[unit.signature()].append(unit)
    layers_of_module: dict[str, int] = defaultdict(int)
    for members in alike.values():
        first = next(name for role, name, _ in members[0].positions if role == "incoming")
        module = first.rpartition(".")[0] or first
        layers_of_module[module] += 1
        name = module if layers_of_module[module] == 1 else f"{module}#{layers_of_module[module]}"
        yield _layer(name, members, sources, ledger, device)


def _layer(name: str, members: list[_Unit], sources: list[fx.Node], ledger: Ledger, device: torch.device) -> NodeLayer:
    entries: dict[str, list[tuple[str, int, Tensor]]] = {role: [] for role in _ROLES}
    for role, tensor, dim in members[0].positions:
        index = torch.tensor([unit.positions[role, tensor, dim] for unit in members], device=device)
        entries[role].append((tensor, dim, index))
    return NodeLayer(
        name=name,
        num_nodes=len(members),
        incoming=tuple(Slice(*entry) for entry in entries["incoming"]),
        outgoing=tuple(Slice(*entry) for entry in entries["outgoing"]),
        statistics=tuple(Slice(*entry) for entry in entries["statistics"]),
        sites=tuple(Site(*entry) for entry in entries["sites"]),
        readings=tuple(
            Reading(
                output=sources.index(node),
                keep=tuple(d for d, n in enumerate(ledger.labels[node].shape) if n > 1),
                index=torch.tensor([unit.readings[node] for unit in members], device=device),
            )
            for node in members[0].readings
        ),
    )


def _head_modules(model: nn.Module, outputs: list[_Unit]) -> tuple[str, ...]:
    """Modules whose outputs nothing reads; a list or dict that holds nothing else stands for its members."""
    names = {name.rpartition(".")[0] for unit in outputs for role, name, _ in unit.positions if role == "incoming"}
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList | nn.ModuleDict):
            members = {f"{name}.{child}" for child, _ in module.named_children()}
            if len(members) > 1 and members <= names:
                names = names - members | {name}
    order = [name for name, _ in model.named_modules()]
    return tuple(sorted(names, key=lambda name: order.index(name) if name in order else -1))


def _head(model: nn.Module, name: str) -> Head:
    module = model.get_submodule(name)
    members = list(module.named_children()) if isinstance(module, nn.ModuleList | nn.ModuleDict) else []
    tasks = tuple(
        tuple(f"{name}.{child}.{local}" for local, _ in member.named_parameters()) for child, member in members
    )
    return Head(name, tasks, tuple(f"{name}.{local}" for local, _ in module.named_parameters()))


def _outgoing(model: nn.Module, layer: NodeLayer, heads: tuple[Head, ...], called: set[str]) -> tuple[Slice, ...]:
    """What reads a layer: also heads that the traced forward did not call, as a called one of the same list does.

    For example, a forward that answers for one task calls ``heads.0`` alone. If ``heads.0.weight`` reads the layer,
    ``heads.1.weight`` and all others read it at the same positions.
    """
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    pieces = {(piece.parameter, piece.dim): piece for piece in layer.outgoing}
    for piece in layer.outgoing:
        for head in [head for head in heads if head.tasks and piece.parameter in head.parameters]:
            child, _, local = piece.parameter.removeprefix(f"{head.name}.").partition(".")
            for (other, _), names in zip(model.get_submodule(head.name).named_children(), head.tasks, strict=True):
                twin = f"{head.name}.{other}.{local}"
                if not called.isdisjoint(names):
                    continue
                if twin not in names or shapes[twin][piece.dim] != shapes[piece.parameter][piece.dim]:
                    raise TraceError(
                        f"cannot trace '{head.name}.{other}': the forward does not call it and it is not built like "
                        f"'{head.name}.{child}'; let the forward call every head on the example inputs"
                    )
                pieces[twin, piece.dim] = Slice(twin, piece.dim, piece.index)
    return tuple(pieces.values())


def _probe(graph: fx.Graph, sources: list[fx.Node], num_inputs: int) -> fx.Graph:
    """The part of the graph that computes the given operations from the inputs; they become its outputs."""
    probe = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    needed = {*sources, *[node for node in graph.nodes if node.op == "placeholder"][:num_inputs]}
    for node in reversed(graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    for node in graph.nodes:
        if node in needed:
            copies[node] = probe.node_copy(node, copies.__getitem__)
    probe.output(tuple(copies[source] for source in sources))
    probe.lint()
    return probe
