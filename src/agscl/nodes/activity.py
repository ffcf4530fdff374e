"""Activity: the average activation of every node over the data, equation (8)."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from .graph import NodeGraph, NodeLayer
from .tracing.calls import Form, few_samples, form_of, tensors_in
from .tracing.exported import on_model
from .tracing.trace import trace_anew

Total = Callable[[dict[str, Tensor], int], tuple[dict[str, Tensor], int]]
"""Maps sums over samples and the number of samples to those over more samples."""


def _as_they_are(sums: dict[str, Tensor], samples: int) -> tuple[dict[str, Tensor], int]:
    return sums, samples


Computing = Callable[[nn.Module], AbstractContextManager[None]]
"""Makes a context of a model."""


def _nothing_else(model: nn.Module) -> AbstractContextManager[None]:
    return nullcontext()


Heard = dict[str, list[Any]]
"""By module, what it gave in a call of the model."""


class Activity:
    """Accumulates each node's mean absolute activation over all samples and positions that it is shown.

    For ReLU networks this is the mean activation of Jung et al. (2020), equation (8). A node that is read at
    several places counts the mean over them. Exactly zero means: not active on any sample.

    What is measured is what the model computes. A call that differs from the traced one in more than its tensors (the
    number of a task, an input left out) is traced itself; `watching` compares every call's outputs with those that the
    trace gives for it, and traces the call anew where they differ (an attribute of the model may choose a branch).

    Args:
        model: The traced model, with its current weights.
        graph: Its node graph.
        computing: A context within which the model holds the tensors that its modules compute with, where a method puts
            others in the place of its own.

    >>> from agscl import trace
    >>> model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1)).eval()
    >>> model[0].weight.data[:] = torch.tensor([[1.0], [-1.0]])
    >>> activity = Activity(model, trace(model, torch.ones(2, 1)))
    >>> with activity.watching():
    ...     outputs = model(torch.tensor([[1.0], [3.0]]))
    >>> activity.means()
    {'0': tensor([2., 0.])}
    """

    def __init__(self, model: nn.Module, graph: NodeGraph, computing: Computing = _nothing_else) -> None:
        self._model, self._graph, self._computing = model, graph, computing
        with computing(model):
            self._traces = [_Trace(model, graph, {layer.name: layer for layer in graph.layers})]
        self._heard = self._traces[0].modules
        self._followed: list[Form] = []

    def observe(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Add one batch: the arguments of a call of the model.

        Raises:
            ValueError: If the call cannot be followed, or has other nodes.
        """
        form, values = form_of(self._model, args, kwargs)
        self._add(form, values, None, {})

    @contextmanager
    def watching(self, *, once: bool = False) -> Iterator[None]:
        """Add every call of the model within the context, and make sure that nothing of it is computed elsewhere.

        Args:
            once: Compute each call once, where the nodes are read from modules alone: what these give in the model's
                own call is added, and the trace is compared on the first samples only, after the first call of its
                form. It takes half the time; a node that a later call switches off by itself may count as active.

        Raises:
            ValueError: If a call cannot be followed, has other nodes or is in training mode, or if a part of the model
                is called by itself. It is raised again at the end of the context if something else has caught it.
        """
        watch = _Watch(self._model, self._add)
        with watch.hooked(self._heard if once else {}):
            yield
        if watch.refusal is not None:
            raise watch.refusal

    @torch.no_grad()
    def _add(self, form: Form, values: list[Any], given: list[Tensor] | None, heard: Heard) -> None:
        """Add a call, by what its modules gave, or by the trace that gives what the model gave.

        Args:
            form: The form of the call.
            values: What went in apart from that.
            given: What the model gave; `None` if that is not known.
            heard: By module, what it gave; empty if they were not listened to.
        """
        if form in self._followed and given is not None and self._add_heard(form, values, given, heard):
            return
        self._found(form, values, given).keep()
        self._followed.append(form)

    def _add_heard(self, form: Form, values: list[Any], given: list[Tensor], heard: Heard) -> bool:
        """Add what the modules gave in a call; whether that is possible, and the trace true of its first samples."""
        outputs = {number: heard[path] for number, path in self._heard.items() if path in heard}
        once = {number: each[0] for number, each in outputs.items() if len(each) == 1 and isinstance(each[0], Tensor)}
        if not once or len(once) < len(self._heard):
            return False
        try:
            trace = self._found(form, few_samples(values), few_samples(given))
        except ValueError:  # a few samples alone are something else to it
            self._heard = {}
            return False
        if trace.modules == self._heard:
            trace.keep(once)
            return True
        return False

    def _found(self, form: Form, values: list[Any], given: list[Tensor] | None) -> _Trace:
        """The trace that gives what the model gave; it has followed the call."""
        rounded: _Trace | None = None
        for trace in [trace for trace in self._traces if trace.form == form]:
            difference = trace.follow(values, given)
            if difference == 0 or (difference is not None and trace.rounds):
                return trace
            rounded = trace if difference is not None else rounded
        graph = trace_anew(self._model, self._graph, form, values)
        with self._computing(self._model):
            trace = _Trace(self._model, graph, _same_nodes(self._graph, graph))
        difference = trace.follow(values, given)
        if difference is None:
            raise ValueError(
                "importance cannot be measured: the model's outputs in predict are not those of its traced forward; "
                "its forward must do the same whenever it gets the same"
            )
        if difference and rounded is not None:
            trace = rounded
            trace.follow(values, given)
        else:
            self._traces.insert(0, trace)
        trace.rounds = difference > 0
        return trace

    def means(self, total: Total = _as_they_are) -> dict[str, Tensor]:
        """Average activation of each layer's nodes, by layer name, float32, shape ``(num_nodes,)``.

        Args:
            total: Adds the samples that others have observed, such as `agscl.processes.sum_with_counts`.

        Raises:
            ValueError: If no sample was observed.
        """
        own: dict[str, Tensor] = {}
        for layer in self._graph.layers:
            parts = [trace.total(layer.name) for trace in self._traces]
            own[layer.name] = torch.stack([part for part, _ in parts]).sum(0)
            own[f"{layer.name} samples"] = own[layer.name].new_tensor(sum(samples for _, samples in parts))
        sums, samples = total(own, sum(trace.calls for trace in self._traces))
        if samples == 0:
            raise ValueError("no data to measure importance on: the batches are empty or never reach the model")
        means = {}
        for layer in self._graph.layers:
            exact = sums[layer.name] / sums[f"{layer.name} samples"]
            mean = exact.float()
            means[layer.name] = torch.where((exact > 0) & (mean == 0), torch.finfo(mean.dtype).tiny, mean)
        return means


@dataclass(frozen=True)
class _Call:
    """A call of the model that is under way: what went in, and what it may draw."""

    form: Form
    values: list[Any]
    draws: list[Tensor]


class _Watch:
    """Shows every call of a model to a function once its outputs are there: its form, values, outputs, what is heard.

    Attributes:
        refusal: The first error that was raised.
    """

    def __init__(self, model: nn.Module, show: Callable[[Form, list[Any], list[Tensor], Heard], None]) -> None:
        self._model, self._show = model, show
        self._heard: Heard | None = None  # while the model computes
        self._call: _Call | None = None
        self.refusal: Exception | None = None

    @contextmanager
    def hooked(self, listened: Mapping[int, str]) -> Iterator[None]:
        """Watch within the context, and listen to these modules."""
        model = self._model
        handles = [
            model.register_forward_pre_hook(self._before, with_kwargs=True),
            model.register_forward_hook(self._after, prepend=True),
        ]
        parts = [(name, part) for name, part in model.named_modules() if name]
        handles += [part.register_forward_pre_hook(partial(self._inside, name)) for name, part in parts]
        handles += [model.get_submodule(n).register_forward_hook(partial(self._hear, n)) for n in {*listened.values()}]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        training = next((name for name, module in model.named_modules() if module.training), None)
        if training is not None:
            self._refuse(f"{training or 'the model'!r} is in training mode in predict; leave modes as they are there")
        form, values = form_of(model, args, kwargs)
        copies = [value.detach().clone() if isinstance(value, Tensor) else value for value in values]
        self._call = _Call(form, copies, random_states(model))
        self._heard = defaultdict(list)

    def _inside(self, name: str, *_: Any) -> None:
        if self._call is None:
            self._refuse(f"predict calls {name!r} by itself, where nothing is measured; let it call the whole model")

    def _hear(self, name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._heard is not None:
            self._heard[name].append(output)

    def _after(self, model: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        call, later, heard = self._call, random_states(model), self._heard
        assert call is not None
        assert heard is not None
        self._heard = None  # what is called from here on is no part of it
        set_random_states(model, call.draws)
        try:
            self._show(call.form, call.values, tensors_in(output), heard)
        except Exception as error:
            self.refusal = self.refusal or error
            raise
        finally:
            set_random_states(model, later)
            self._call = None

    def _refuse(self, message: str) -> None:
        self.refusal = self.refusal or ValueError(message)
        raise self.refusal


class _Trace:
    """One traced call: runs on the values of calls of the same form, and adds up what their nodes do.

    Args:
        model: The model.
        graph: The node graph of the call.
        layers: Its layers, by the names that they have in the model's own graph.

    Attributes:
        modules: By output of the probe, the module that gives it, if each reading is what a module gives that is
            called once; else empty.
    """

    def __init__(self, model: nn.Module, graph: NodeGraph, layers: Mapping[str, NodeLayer]) -> None:
        assert graph.origin is not None
        self.form, self.rounds = graph.origin.form, False
        self._probe, self._layers = on_model(model, graph.probe, graph.constants), layers
        self.modules = _modules(graph.probe, {r.output for layer in layers.values() for r in layer.readings})
        self._outputs: tuple[Any, ...] = ()
        self._sums: dict[int, Tensor] = {}
        self._rows: dict[int, int] = {}
        self.calls = 0

    def follow(self, values: list[Any], given: list[Tensor] | None) -> float | None:
        """Compute a call; how far its outputs are from those given, `None` if that is further than rounding goes."""
        try:
            self._outputs = self._probe(*values)
        except Exception:  # it was traced for other shapes; whatever else is wrong with the call, a new trace says
            return None
        return 0.0 if given is None else deviation(tensors_in(self._outputs[-1]), given)

    def keep(self, heard: Mapping[int, Tensor] | None = None) -> None:
        """Add what the nodes did in the call followed last, or what was heard of them, by output of the probe."""
        kept = {reading.output: reading.keep for layer in self._layers.values() for reading in layer.readings}
        for number, keep in kept.items():
            values = self._outputs[number] if heard is None else heard[number]
            positions = [dim for dim in range(1, values.ndim) if dim not in keep]
            if positions:  # added in single precision, several times as fast; samples are added in double
                count = math.prod(values.shape[dim] for dim in positions)
                wide = torch.promote_types(values.dtype, torch.float32)
                each = values.abs().sum(positions, dtype=wide).double() / count
            else:
                each = values.abs().double()
            total = each.sum(0).flatten()
            self._sums[number] = self._sums.get(number, torch.zeros_like(total)) + total
            self._rows[number] = self._rows.get(number, 0) + len(values)
        self._outputs, self.calls = (), self.calls + 1

    def total(self, name: str) -> tuple[Tensor, int]:
        """Sum over samples of the activation of a layer's nodes, shape ``(num_nodes,)``, and how many there were.

        Each reading is divided by its own number of samples: one may see every sample several times. Nodes without a
        reading are learned constants, the same for every sample: they count as active.
        """
        layer = self._layers[name]
        if not layer.readings:
            return torch.full_like(layer.incoming[0].index[:, 0], self.calls, dtype=torch.float64), self.calls
        rows = self._rows.get(layer.readings[0].output, 0)
        if self.calls == 0:
            return torch.zeros(layer.num_nodes, dtype=torch.float64, device=layer.readings[0].index.device), 0
        parts = [self._sums[r.output][r.index].mean(dim=1) * (rows / self._rows[r.output]) for r in layer.readings]
        return torch.stack(parts).mean(dim=0), rows


def _modules(probe: fx.Graph, outputs: Iterable[int]) -> dict[int, str]:
    calls = Counter(node.target for node in probe.nodes if node.op == "call_module")
    sources: Any = probe.output_node().args[0]
    named = {number: str(sources[number].target) for number in outputs if calls[sources[number].target] == 1}
    return named if len(named) == len({*outputs}) and all(sources[n].op == "call_module" for n in named) else {}


def deviation(found: list[Tensor], wanted: list[Tensor]) -> float | None:
    """The largest difference between tensors, 0 if they are the same; `None` if it is more than rounding.

    >>> deviation([torch.ones(2)], [torch.ones(2)]), deviation([torch.ones(2)], [torch.zeros(2)])
    (0.0, None)
    """
    if [(tensor.shape, tensor.dtype) for tensor in found] != [(tensor.shape, tensor.dtype) for tensor in wanted]:
        return None
    furthest = 0.0
    for one, other in zip(found, wanted, strict=True):
        if torch.equal(one, other):
            continue
        if not one.is_floating_point():
            return None
        largest = other.nan_to_num(0, 0, 0).abs().max() * torch.finfo(one.dtype).eps ** 0.5
        if not torch.allclose(one, other, rtol=0, atol=float(largest), equal_nan=True):
            return None
        furthest = max(furthest, float((one - other).nan_to_num(0, 0, 0).abs().max()))
    return furthest


def _same_nodes(graph: NodeGraph, other: NodeGraph) -> dict[str, NodeLayer]:
    """The layers of another trace by the names that they have in a graph.

    Raises:
        ValueError: If they are not the same; the message names what is not.
    """
    own = {_content(layer): layer.name for layer in graph.layers}
    found = {_content(layer): layer for layer in other.layers}
    if odd := [*(own.keys() - found.keys()), *(found.keys() - own.keys())]:
        name = min(own.get(content) or found[content].name for content in odd)
        raise ValueError(
            f"in the call that predict makes, the nodes of {name!r} are not those that protect() found; give protect() "
            "example inputs like those of every task: the same arguments, the same parts of the model"
        )
    return {name: found[content] for content, name in own.items()}


def _content(layer: NodeLayer) -> frozenset[tuple[object, ...]]:
    """What makes a layer what it is, wherever its nodes are read."""
    roles = {"in": layer.incoming, "out": layer.outgoing, "statistics": layer.statistics}
    return frozenset(
        (role, piece.parameter, piece.dim, *piece.index.shape, piece.index.cpu().numpy().tobytes())
        for role, pieces in roles.items()
        for piece in pieces
    )


def random_states(model: nn.Module) -> list[Tensor]:
    """The states of the random generators that a model may draw from."""
    return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, _cards(model))]


def set_random_states(model: nn.Module, states: list[Tensor]) -> None:
    """Set the generators to what `random_states` gave."""
    torch.set_rng_state(states[0])
    for card, state in zip(_cards(model), states[1:], strict=True):
        torch.cuda.set_rng_state(state, card)


def _cards(model: nn.Module) -> list[torch.device]:
    return sorted({p.device for p in model.parameters() if p.device.type == "cuda"}, key=str)
