"""From the ledger of a trace to the node graph: group units that are alike into layers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from agscl.nodes.graph import Head, NodeGraph, NodeLayer, Reading, Slice
from agscl.nodes.slices import mark

from .call import TraceError
from .ledger import Ledger

_ROLES = ("incoming", "outgoing", "statistics")

_Unit = dict[tuple[str, Any, int], list[int]]
"""Where one unit occurs: positions by role, tensor (for readings: operation) and dimension."""


def assemble(
    model: nn.Module, graph: fx.Graph, ledger: Ledger, head_names: tuple[str, ...] | None, ignore: tuple[str, ...]
) -> NodeGraph:
    """The node graph of a labelled trace; heads are inferred where none are named."""
    try:
        ledger.settle()
    except ValueError as error:
        raise TraceError(f"cannot trace the model: {error}") from error
    units = _collect(ledger)
    exposed = _exposed(ledger, units)
    makers = {unit for unit, entries in units.items() if {"incoming", "outgoing"} <= {role for role, _, _ in entries}}
    _require_read_by_heads(ledger, units, makers)
    if head_names is None:
        apart = makers | exposed
        made = [entries for unit, entries in units.items() if unit not in apart]
        head_names = _head_modules(
            model, [entries for entries in made if not _incoming(entries) <= ledger.elements.keys()]
        )
    heads = []
    for name in head_names:
        module = model.get_submodule(name)
        members = _members(name, module)
        tasks = [[f"{name}.{child}.{local}" for local, _ in member.named_parameters()] for child, member in members]
        whole = tuple(f"{name}.{local}" for local, _ in module.named_parameters())
        heads.append(Head(name, tuple(map(tuple, tasks)), whole))
    _require_own_weights(model, heads)
    called = {name for name, _ in ledger.outgoing}
    nodes, device = {unit: units[unit] for unit in sorted(makers - exposed)}, next(model.parameters()).device
    layers = [
        replace(layer, outgoing=_outgoing(model, layer, heads, called)) for layer in _layers(nodes, ledger, device)
    ]
    ignored = _ignored(model, ignore, layers) | {name for unit in exposed for _, name, _ in _received(units[unit])}
    found = _with_rest(
        model,
        NodeGraph(
            layers=tuple(layers),
            heads=tuple(heads),
            shared=(),
            unreached=(),
            probe=_probe(graph, list(ledger.readings)),
            users={name: _outermost(paths) for name, paths in sorted(ledger.users.items())},
        ),
        ledger,
        ignored,
    )
    return replace(found, plastic=_plastic(model, layers, {*found.head_parameters, *found.unreached, *found.ignored}))


def _plastic(model: nn.Module, layers: list[NodeLayer], apart: set[str]) -> float:
    """The largest share of weights that can learn once a task is frozen, some parameters left apart."""
    parameters = {name: p for name, p in model.named_parameters() if name not in apart}
    nodes = [layer for layer in layers if layer.kind == "nodes"]
    streams = [piece for layer in layers if layer.kind == "stream" for piece in layer.incoming]

    def marked(pieces: Iterable[Slice]) -> dict[str, Tensor]:
        pieces = [piece for piece in pieces if piece.parameter in parameters]
        masks = {piece.parameter: torch.zeros(parameters[piece.parameter].shape, dtype=torch.bool) for piece in pieces}
        for piece in pieces:
            masks[piece.parameter].index_fill_(piece.dim, piece.index.flatten().cpu(), True)
        return masks

    made = marked([piece for layer in nodes for piece in layer.incoming])
    written, read = marked(streams), marked([piece for layer in nodes for piece in layer.outgoing])
    for name in written.keys() & read.keys():
        made[name] = made.get(name, torch.tensor(False)) | (written[name] & read[name])
    learns = sum(int(mask.sum()) for mask in made.values())
    return learns / max(1, sum(p.numel() for p in parameters.values()))


def _require_read_by_heads(ledger: Ledger, units: dict[int, _Unit], makers: set[int]) -> None:
    """Refuse nodes that are an output of the model: what leaves them for it cannot be cut."""
    for unit in {unit for ids in ledger.outputs for unit in ledger.units.roots(ids).flatten().tolist()} & makers:
        incoming, outgoing = (
            [name for role, name, _ in units[unit] if role == wanted] for wanted in ("incoming", "outgoing")
        )
        raise TraceError(
            f"nodes made by {incoming[0]!r} are an output of the model and {outgoing[0]!r} reads them as well: let the "
            "forward return what heads make alone (no features, hidden states or cache: use_cache=False)"
        )


def _outermost(paths: set[str]) -> tuple[str, ...]:
    """Those of the modules that are not inside another of them."""
    return tuple(sorted(p for p in paths if not any(p != q and (not q or p.startswith(f"{q}.")) for q in paths)))


def _require_own_weights(model: nn.Module, heads: list[Head]) -> None:
    """Refuse a head that shares a weight with the trunk, or with another head list."""
    names: dict[int, list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    for head in heads:
        for same in names.values():
            inside = [name for name in same if name.startswith(f"{head.name}.")]
            if 0 < len(inside) < len(same):
                outside = next(name for name in same if name not in inside)
                raise TraceError(
                    f"cannot trace the model: {inside[0]!r}, of a head, is {outside!r} as well (tied weights); give "
                    "the head a weight of its own"
                )


def _with_rest(model: nn.Module, graph: NodeGraph, ledger: Ledger, ignored: set[str]) -> NodeGraph:
    """The graph with all that no node owns: shared by all, left to an ignored module, or never used.

    Every position of every parameter and of every running statistic is in a node, in a head, or in one of these.
    """
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    statistics = {name for name, _ in ledger.statistics}
    wanted = {name for name, tensor in state.items() if isinstance(tensor, nn.Parameter) or name in statistics}
    wanted -= graph.head_parameters | ignored
    owned = mark(
        (
            (piece, torch.ones(layer.num_nodes, dtype=torch.bool, device=piece.index.device))
            for layer in graph.layers
            for piece in layer.incoming + layer.statistics
        ),
        state,
    )
    dims = dict(owned.keys())
    rest = [(name, dims[name], (~owned[name, dims[name]]).nonzero().flatten()) for name in sorted(wanted & dims.keys())]
    used = ledger.used | ledger.shared | statistics
    return replace(
        graph,
        shared=tuple(sorted((wanted & used) - dims.keys())),
        rest=tuple(Slice(name, dim, index[None]) for name, dim, index in rest if len(index)),
        unreached=tuple(sorted(wanted - used - dims.keys())),
        ignored=tuple(sorted(ignored - graph.head_parameters)),
    )


def _incoming(entries: _Unit) -> set[str]:
    return {name for role, name, _ in entries if role == "incoming"}


def deep_heads(model: nn.Module, graph: NodeGraph) -> tuple[str, ...]:
    """Heads by name, if a list or dict of modules with hidden layers turns out to be heads; empty otherwise.

    Each of its members makes outputs, reads the trunk, and keeps the nodes within it to itself.

    Args:
        model: The model.
        graph: Its nodes, with the last layers as heads.
    """
    names = [head.name for head in graph.heads]
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList | nn.ModuleDict) and name and len(module) > 1:
            members = [f"{name}.{child}." for child in module._modules]
            if all(_is_deep_head(member, graph) for member in members):
                rest = [head for head in names if not any(f"{head}.".startswith(member) for member in members)]
                return (*rest, name) if len(rest) < len(names) else ()
    return ()


def _is_deep_head(member: str, graph: NodeGraph) -> bool:
    """Whether a module, by the beginning of its names, makes outputs, reads the trunk, and keeps its nodes."""
    reads = False
    for layer in graph.layers:
        made = {piece.parameter.startswith(member) for piece in layer.incoming}
        read = {piece.parameter.startswith(member) for piece in layer.outgoing}
        if True in made and (made | read) != {True}:
            return False
        reads |= True not in made and True in read
    return reads and any(head.name.startswith(member) for head in graph.heads)


def _members(name: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The heads of a list or dict of heads.

    Raises:
        TraceError: If heads of two tasks have something in common.
    """
    if not isinstance(module, nn.ModuleList | nn.ModuleDict):
        return []
    members = [(child, member) for child, member in module._modules.items() if member is not None]
    first: dict[int, str] = {}
    for child, member in members:
        for local, parameter in member.named_parameters():
            other = first.setdefault(id(parameter), child)
            if other != child:
                raise TraceError(
                    f"'{name}.{child}' and '{name}.{other}' have {local!r} in common: one task's head would change "
                    "with another's; give each task a head of its own, or name the one module that all tasks share"
                )
    return members


def _received(entries: _Unit) -> list[tuple[str, str, int]]:
    """What comes into a unit, its statistics included."""
    return [entry for entry in entries if entry[0] in ("incoming", "statistics")]


def _exposed(ledger: Ledger, units: dict[int, _Unit]) -> set[int]:
    """Units that flow into an ignored module, and those whose parameters they have in common."""
    exposed = {unit for ids in ledger.exposed for unit in ledger.units.roots(ids).tolist() if unit in units}
    while True:
        names = {name for unit in exposed for _, name, _ in _received(units[unit])}
        more = {unit for unit, entries in units.items() if names & {name for _, name, _ in _received(entries)}}
        if more <= exposed:
            return exposed
        exposed |= more


def _ignored(model: nn.Module, ignore: tuple[str, ...], layers: list[NodeLayer]) -> set[str]:
    """Names in the state of ignored modules, but for counters of batches.

    Raises:
        TraceError: If a node needs one of these tensors as well.
    """
    names = {id(tensor): name for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
    parts = [model.get_submodule(name) for name in ignore]
    inside = [tensor for part in parts for tensor in (*part.parameters(), *part.buffers())]
    ignored = {name for tensor in inside if not (name := names[id(tensor)]).endswith("num_batches_tracked")}
    pieces = (piece.parameter for layer in layers for piece in layer.incoming + layer.outgoing)
    if tied := sorted(ignored & {*pieces}):
        raise TraceError(f"{tied[0]!r} is used in an ignored module and outside; ignore both, or give each its own")
    return ignored


def _collect(ledger: Ledger) -> dict[int, _Unit]:
    units: dict[int, _Unit] = defaultdict(lambda: defaultdict(list))
    for role in _ROLES:
        for (name, dim), ids in getattr(ledger, role).items():
            for position, unit in enumerate(ledger.units.roots(ids).tolist()):
                units[unit][role, name, dim].append(position)
    for node, read in ledger.readings.items():
        wanted = set(ledger.units.roots(read).tolist())
        for position, unit in enumerate(ledger.units.roots(ledger.labels[node].flatten()).tolist()):
            if unit in wanted:
                units[unit]["readings", node, 0].append(position)
    return {unit: entries for unit, entries in units.items() if unit >= 0}


def _layers(units: dict[int, _Unit], ledger: Ledger, device: torch.device) -> Iterator[NodeLayer]:
    """Layers of units that occur alike, each named after the module of its first producer."""
    streams = {unit for ids in ledger.streams for unit in ledger.units.roots(ids).tolist()}
    alike: dict[tuple[object, ...], list[_Unit]] = defaultdict(list)
    for unit, places in units.items():
        alike[unit in streams, *((entry, len(positions)) for entry, positions in places.items())].append(places)
    sources, layers_of = list(ledger.readings), Counter[str]()
    for (stream, *_), members in alike.items():
        entries: dict[str, list[Any]] = defaultdict(list)
        for role, source, dim in members[0]:
            index = torch.tensor([unit[role, source, dim] for unit in members], device=device)
            entries[role].append((source, dim, index))
        first = entries["incoming"][0][0]
        module = first.rpartition(".")[0] or first
        layers_of[module] += 1
        yield NodeLayer(
            name=module if layers_of[module] == 1 else f"{module}#{layers_of[module]}",
            num_nodes=len(members),
            kind="stream" if stream else "nodes",
            incoming=tuple(Slice(*entry) for entry in entries["incoming"]),
            outgoing=tuple(Slice(*entry) for entry in entries["outgoing"]),
            statistics=tuple(Slice(*entry) for entry in entries["statistics"]),
            readings=tuple(
                Reading(sources.index(node), tuple(d for d, n in enumerate(ledger.labels[node].shape) if n > 1), index)
                for node, _, index in entries["readings"]
            ),
        )


def _head_modules(model: nn.Module, outputs: list[_Unit]) -> tuple[str, ...]:
    """Modules whose outputs nothing reads; a list or dict that holds nothing else stands for its members."""
    names = {name.rpartition(".")[0] for unit in outputs for role, name, _ in unit if role == "incoming"}
    order = [name for name, _ in model.named_modules()]
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList | nn.ModuleDict):
            members = {f"{name}.{child}" for child, _ in module.named_children()}
            if len(members) > 1 and members <= names:
                names = names - members | {name}
    return tuple(sorted(names, key=lambda name: order.index(name) if name in order else -1))


def _outgoing(model: nn.Module, layer: NodeLayer, heads: list[Head], called: set[str]) -> tuple[Slice, ...]:
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


def _probe(graph: fx.Graph, sources: list[fx.Node]) -> fx.Graph:
    """The graph with the given operations as outputs, and what the model gives behind them."""
    probe = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    (end,) = graph.find_nodes(op="output")
    needed = {*sources, *end.all_input_nodes, *graph.find_nodes(op="placeholder")}
    for node in reversed(graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    for node in graph.nodes:
        if node in needed:
            copies[node] = probe.node_copy(node, copies.__getitem__)
    given = fx.node.map_arg(end.args[0], copies.__getitem__)
    probe.output((*(copies[source] for source in sources), given))
    probe.lint()
    return probe
