"""The self-test of a node graph: the laws that freezing and cutting rest on, tried on the model itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .activity import deviation, random_states, set_random_states
from .graph import NodeGraph, NodeLayer, Slice
from .slices import fill
from .tracing.call import TraceError
from .tracing.calls import few_samples, form_of, tensors_in
from .tracing.exported import on_model
from .tracing.trace import arguments, eval_mode

CHOSEN = 2
"""How many nodes of a layer are looked at; they are the same in every run."""

CROWD = 4
"""Layers of fewer nodes are looked at one at a time: cutting one of their nodes could hide what is behind it."""

Nodes = dict[str, Tensor]
"""Nodes by layer: their numbers, or bool, shape ``(num_nodes,)``."""

_STATISTICS = ("running_mean", "running_var")

_ADVICE = "give the operation a rule (rules={...}) or leave its module out (ignore=...)"


@torch.no_grad()
def require_lawful(model: nn.Module, graph: NodeGraph, example_inputs: Any) -> None:
    """Refuse a node graph that is not true of its model; the model and all random generators are left as they are.

    On the model's weights: the graph gives the model's outputs. On random weights, for some nodes of every layer:

    - with all that leaves a node cut, nothing that comes into it reaches an output;
    - with half of the nodes held, the others cut, and all else that no node owns changed, neither the activations of
      those held nor an output change. What all nodes share and the heads are held as well.

    Args:
        model: The traced model.
        graph: Its node graph.
        example_inputs: A batch for ``model(*example_inputs)``; a single tensor stands for itself. Two samples are used.

    Raises:
        TraceError: If the graph is not true; the message names layer, node and parameter.

    >>> from agscl import trace
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> require_lawful(model, trace(model, torch.ones(2, 3)), torch.ones(2, 3))
    """
    states = random_states(model)
    try:
        with eval_mode(model):
            trial = _Trial(model, graph, example_inputs)
            trial.require_same_outputs()
            with trial.random_weights():
                trial.require_isolated()
                trial.require_held()
    finally:
        set_random_states(model, states)


class _Trial:
    """A model that is tried on other weights: their data is exchanged, and afterwards put back."""

    def __init__(self, model: nn.Module, graph: NodeGraph, example_inputs: Any) -> None:
        assert graph.origin is not None
        self._model, self._graph = model, graph
        _, values = form_of(model, *arguments(example_inputs))
        self._values = few_samples(values)
        self._form = graph.origin.form
        self._probe = on_model(model, graph.probe, graph.constants)
        self._generator = torch.Generator().manual_seed(0)
        fixed = (*graph.head_parameters, *graph.shared)
        statistics = {piece.parameter for layer in graph.layers for piece in layer.statistics}
        buffers = {n: t for n, t in model.named_buffers() if n in statistics or n.endswith(_STATISTICS)}
        inside = tuple(f"{name}." for name in graph.origin.ignore)
        self._own: dict[str, Tensor] = {
            name: tensor
            for name, tensor in {**dict(model.named_parameters()), **buffers}.items()
            if tensor.is_floating_point() and not name.startswith(inside)
        }
        self._loose = {} if inside else {name: tensor for name, tensor in self._own.items() if name not in fixed}
        self._base: dict[str, Tensor] = {}
        self._state: dict[str, Tensor] = {}
        self._nodes: Nodes = {layer.name: self._choose(layer) for layer in graph.layers}

    def _choose(self, layer: NodeLayer) -> Tensor:
        order = torch.randperm(layer.num_nodes, generator=self._generator)
        return order[: CHOSEN if layer.num_nodes >= CROWD else 1].to(layer.incoming[0].index.device)

    def require_same_outputs(self) -> None:
        """The graph gives what the model gives."""
        if deviation(tensors_in(self._traced()[-1]), self._computed()) is None:
            raise TraceError(
                "cannot trace the model: the traced forward does not give the model's outputs, so that something in it "
                "is not followed (a write into a tensor, say); let the forward make new tensors instead"
            )

    @contextmanager
    def random_weights(self) -> Iterator[None]:
        """The model's weights and statistics are random within the context, of a size that keeps outputs finite."""
        own = {name: tensor.data for name, tensor in self._own.items()}
        try:
            for factor in (1.0, 0.1, None):  # at last its own weights: they may be the only ones that give numbers
                self._base = own if factor is None else {n: self._random(n, t, factor) for n, t in own.items()}
                self._state = {name: tensor.clone() for name, tensor in self._base.items()}
                for name, tensor in self._own.items():
                    tensor.data = self._state[name]
                if all(tensor.isfinite().all() for tensor in self._computed()):
                    break
            yield
        finally:
            for name, tensor in self._own.items():
                tensor.data = own[name]

    def _random(self, name: str, tensor: Tensor, factor: float) -> Tensor:
        noise = torch.empty_like(tensor, device="cpu").uniform_(-1, 1, generator=self._generator).to(tensor.device)
        if tensor.ndim > 1:
            return noise.mul_(factor * (6 / max(tensor[0].numel(), 1)) ** 0.5)
        return noise.div_(2).add_(1) if name.endswith(("weight", "var")) else noise.div_(2)

    def _computed(self) -> list[Tensor]:
        args, kwargs = self._form.arguments(self._copies())
        torch.manual_seed(0)
        return [tensor.clone() for tensor in tensors_in(self._model(*args, **kwargs))]

    def _traced(self) -> tuple[Any, ...]:
        torch.manual_seed(0)
        outputs: tuple[Any, ...] = self._probe(*self._copies())
        return outputs

    def _copies(self) -> list[Any]:
        return [value.clone() if isinstance(value, Tensor) else value for value in self._values]

    def _reset(self, names: Iterable[str] | None = None) -> None:
        for name in self._state if names is None else names:
            self._state[name].copy_(self._base[name])

    def require_isolated(self) -> None:
        """With what leaves a node cut, nothing that comes into it reaches an output."""
        layers = self._graph.layers
        small = [[layer] for layer in layers if layer.num_nodes < CROWD]
        for together in [[layer for layer in layers if layer.num_nodes >= CROWD], *small]:
            pieces = [(layer, piece) for layer in together for piece in layer.incoming]
            if not self._reaches(together, pieces):
                continue
            for layer, piece in pieces:
                if self._reaches([layer], [(layer, piece)]):
                    raise TraceError(
                        f"cannot trace the model: node {int(self._nodes[layer.name][0])} of {layer.name!r} acts on the "
                        f"outputs through {piece.parameter!r} though all that is known to leave it is cut; {_ADVICE}"
                    )

    def _reaches(self, layers: list[NodeLayer], pieces: list[tuple[NodeLayer, Slice]]) -> bool:
        """Whether a change of these pieces shows in the outputs while all that leaves the layers' nodes is cut."""
        self._reset()
        for layer in layers:
            fill([p for p in layer.outgoing if p.parameter in self._state], self._state, self._nodes[layer.name], 0.0)
        before = self._computed()
        for layer, piece in pieces:
            if piece.parameter in self._state:
                self._change(piece, self._nodes[layer.name], lambda part: part * -1.5)
        return not _equal(before, self._computed())

    def _change(self, piece: Slice, nodes: Tensor, new: Callable[[Tensor], Tensor]) -> None:
        moved, positions = self._state[piece.parameter].movedim(piece.dim, 0), piece.index[nodes].flatten()
        moved[positions] = new(moved[positions])

    def require_held(self) -> None:
        """What is held still gives what it gave, whatever becomes of the rest."""
        for turn in (False, True):
            held = {}
            for layer in self._graph.layers:
                coin = torch.rand(layer.num_nodes, generator=self._generator) < 1 / 2
                held[layer.name] = (coin ^ turn).to(layer.incoming[0].index.device)
            before = self._results(held, ())
            if _equal(before, self._results(held, self._loose)):
                continue
            for name in reversed(self._loose):
                after = self._results(held, [name])
                for layer, one, other in zip(self._graph.layers, before, after, strict=False):
                    if not _equal([one], [other]):
                        row = int((one != other).any(dim=1).nonzero()[0])
                        raise TraceError(
                            f"cannot trace the model: node {int(held[layer.name].nonzero()[row])} of {layer.name!r} "
                            f"depends on a part of {name!r} that is not known to come into it; {_ADVICE}"
                        )
                if not _equal(before, after):
                    raise TraceError(
                        f"cannot trace the model: a part of {name!r} acts on the outputs and belongs to no node and no "
                        f"head; {_ADVICE}"
                    )

    def _results(self, held: Nodes, changed: Iterable[str]) -> list[Tensor]:
        """Activations of the nodes that are held, by layer, then outputs; others are cut and some weights changed."""
        self._reset()
        layers = self._graph.layers
        for name in changed:
            self._state[name].mul_(0.75 if name.endswith("var") else -0.75)
        kept = [(p, held[layer.name]) for layer in layers for p in layer.incoming + layer.statistics]
        kept += [(piece, torch.ones_like(piece.index[:, 0], dtype=torch.bool)) for piece in self._graph.rest]
        for piece, nodes in [(piece, nodes) for piece, nodes in kept if piece.parameter in self._state]:
            positions = piece.index[nodes].flatten()
            base = self._base[piece.parameter].movedim(piece.dim, 0)
            self._state[piece.parameter].movedim(piece.dim, 0)[positions] = base[positions]
        for layer in layers:
            leaving = [piece for piece in layer.outgoing if piece.parameter in self._state]
            fill(leaving, self._state, ~held[layer.name], 0.0)
        outputs = self._traced()
        return [_activations(layer, held[layer.name], outputs) for layer in layers] + tensors_in(outputs[-1])


def _activations(layer: NodeLayer, nodes: Tensor, outputs: tuple[Any, ...]) -> Tensor:
    """All that is read of each of the nodes, a row for each; nothing of those that are learned constants."""
    parts = [torch.zeros(int(nodes.sum()), 0, device=nodes.device)]
    for reading in layer.readings:
        value, kept = outputs[reading.output], len(reading.keep)
        last = value.movedim(reading.keep, tuple(range(value.ndim - kept, value.ndim)))
        flat = last.reshape(-1, last.shape[last.ndim - kept :].numel())
        parts.append(flat[:, reading.index[nodes]].movedim(1, 0).flatten(1))
    return torch.cat(parts, dim=1)


def _equal(one: list[Tensor], other: list[Tensor]) -> bool:
    """Whether tensors are the same; where they are no numbers, nothing can be said."""
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, b) or not (a.isfinite().all() and b.isfinite().all()) for a, b in pairs)
