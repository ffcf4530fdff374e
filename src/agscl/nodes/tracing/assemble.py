"""From the ledger of a trace to the node graph: group units that are alike into layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import fx, nn

from agscl.nodes.graph import Head, NodeGraph, NodeLayer, Reading, Site, Slice

from .call import TraceError
from .ledger import Ledger
from .units import NO_UNIT

_BOOKS = ("incoming", "outgoing", "statistics", "sites")


@dataclass
class _Unit:
    """Where one unit occurs: positions by book and place, and by reading."""

    places: dict[tuple[str, str, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    readings: dict[fx.Node, list[int]] = field(default_factory=lambda: defaultdict(list))

    def signature(self) -> tuple[object, ...]:
        """Units with equal signatures form a layer."""
        return (
            *((place, len(positions)) for place, positions in self.places.items()),
            *((node, len(positions)) for node, positions in self.readings.items()),
        )

    def is_node(self) -> bool:
        """Whether something trainable comes into it and something reads it."""
        return {"incoming", "outgoing"} <= {book for book, _, _ in self.places}


def assemble(
    model: nn.Module, graph: fx.Graph, ledger: Ledger, heads: tuple[str, ...] | None, num_inputs: int
) -> NodeGraph:
    """The node graph of a labelled trace; heads are inferred where none are named."""
    units = _collect(ledger)
    exposed = {unit for ids in ledger.exposed for unit in ledger.units.roots(ids).tolist()}
    nodes = {unit: where for unit, where in units.items() if where.is_node() and unit not in exposed}
    if heads is None:
        heads = _head_modules(model, [where for where in units.values() if not where.is_node()])
    sources = list(ledger.readings)
    device = next(model.parameters()).device
    layers = tuple(_layers(nodes.values(), sources, ledger, device))
    found = tuple(_head(model, name) for name in heads)
    layers = tuple(_with_silent_heads(model, layer, found) for layer in layers)
    names = {name for name, _ in model.named_parameters()}
    reached = {p.parameter for layer in layers for p in layer.incoming + layer.outgoing} | ledger.shared
    reached |= {name for head in found for name in head.parameters}
    return NodeGraph(
        layers=layers,
        heads=found,
        shared=tuple(sorted(ledger.shared)),
        unreached=tuple(sorted(names - reached - {place[0] for place in ledger.incoming})),
        probe=_probe(graph, sources, num_inputs),
    )


def _collect(ledger: Ledger) -> dict[int, _Unit]:
    units: dict[int, _Unit] = defaultdict(_Unit)
    for book in _BOOKS:
        for (name, dim), ids in getattr(ledger, book).items():
            for position, unit in enumerate(ledger.units.roots(ids).tolist()):
                units[unit].places[book, name, dim].append(position)
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
    alike: dict[tuple[object, ...], list[_Unit]] = defaultdict(list)
    for unit in units:
        alike[unit.signature()].append(unit)
    taken: dict[str, int] = defaultdict(int)
    for members in alike.values():
        first = next(name for book, name, _ in members[0].places if book == "incoming")
        module = first.rpartition(".")[0] or first
        taken[module] += 1
        name = module if taken[module] == 1 else f"{module}#{taken[module]}"
        yield _layer(name, members, sources, ledger, device)


def _layer(name: str, members: list[_Unit], sources: list[fx.Node], ledger: Ledger, device: torch.device) -> NodeLayer:
    places = members[0].places
    index = {place: torch.tensor([unit.places[place] for unit in members], device=device) for place in places}
    chosen = {book: [(p[1], p[2], index[p]) for p in places if p[0] == book] for book in _BOOKS}
    return NodeLayer(
        name=name,
        num_nodes=len(members),
        incoming=tuple(Slice(*entry) for entry in chosen["incoming"]),
        outgoing=tuple(Slice(*entry) for entry in chosen["outgoing"]),
        statistics=tuple(Slice(*entry) for entry in chosen["statistics"]),
        sites=tuple(Site(*entry) for entry in chosen["sites"]),
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
    names = {name.rpartition(".")[0] for unit in outputs for book, name, _ in unit.places if book == "incoming"}
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList | nn.ModuleDict):
            members = {f"{name}.{child}" for child, _ in module.named_children()}
            if len(members) > 1 and members <= names:
                names = names - members | {name}
    order = [name for name, _ in model.named_modules()]
    return tuple(sorted(names, key=lambda name: order.index(name) if name in order else -1))


def _head(model: nn.Module, name: str) -> Head:
    module = model.get_submodule(name)
    tasks: tuple[tuple[str, ...], ...] = ()
    if isinstance(module, nn.ModuleList | nn.ModuleDict):
        tasks = tuple(_names(f"{name}.{child}", member) for child, member in module.named_children())
    return Head(name, tasks, _names(name, module))


def _names(prefix: str, module: nn.Module) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name, _ in module.named_parameters())


def _with_silent_heads(model: nn.Module, layer: NodeLayer, heads: tuple[Head, ...]) -> NodeLayer:
    """Heads that the traced forward did not call read what a called one of the same list reads."""
    parameters = dict(model.named_parameters())
    known = {(piece.parameter, piece.dim) for piece in layer.outgoing}
    extra: list[Slice] = []
    for head in [head for head in heads if head.tasks]:
        for piece in [piece for piece in layer.outgoing if piece.parameter in head.parameters]:
            child, _, rest = piece.parameter.removeprefix(f"{head.name}.").partition(".")
            for other, _ in model.get_submodule(head.name).named_children():
                twin = f"{head.name}.{other}.{rest}"
                if other == child or (twin, piece.dim) in known:
                    continue
                if (
                    twin not in parameters
                    or parameters[twin].shape[piece.dim] != parameters[piece.parameter].shape[piece.dim]
                ):
                    raise TraceError(
                        f"cannot trace '{head.name}.{other}': the forward does not call it and it is not built like "
                        f"'{head.name}.{child}'; let the forward call every head on the example inputs"
                    )
                known.add((twin, piece.dim))
                extra.append(Slice(twin, piece.dim, piece.index))
    return NodeLayer(**{**vars(layer), "outgoing": layer.outgoing + tuple(extra)})


def _probe(graph: fx.Graph, sources: list[fx.Node], num_inputs: int) -> fx.Graph:
    """The part of the graph that computes the given operations from the inputs; they become its outputs."""
    probe = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    wanted = _needed(sources) | set([node for node in graph.nodes if node.op == "placeholder"][:num_inputs])
    for node in graph.nodes:
        if node in wanted:
            copies[node] = probe.node_copy(node, copies.__getitem__)
    probe.output(tuple(copies[source] for source in sources))
    probe.lint()
    return probe


def _needed(sources: Iterable[fx.Node]) -> set[fx.Node]:
    needed: set[fx.Node] = set()
    waiting = list(sources)
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting.extend(node.all_input_nodes)
    return needed
