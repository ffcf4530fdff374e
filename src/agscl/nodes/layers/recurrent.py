"""Recurrent layers: a hidden state is a node, with the rows of all its gates and the column that reads it back."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_map

from agscl.nodes.tracing.call import Call
from agscl.nodes.tracing.labels import HEAD, Label

from .kind import LayerKind


def recurrent(call: Call) -> Any:
    """GRU, LSTM and plain recurrence, of any number of layers, in one direction or both.

    Where all that comes into a hidden state is zero it stays zero from one step to the next, as long as it begins so.
    Each layer reads the hidden states of the one below it, at all steps.

    Raises:
        TraceError: If a hidden state is not zero at the beginning, or hidden states are projected.
    """
    given = _given(call)
    hidden = given.hidden if isinstance(given.hidden, list | tuple) else [given.hidden]
    if any(state is not None and (call.label_of(state) is not None or bool(state.any())) for state in hidden):
        raise call.refusal("its hidden state does not begin at zero")
    if given.layers > 1 and call.args[0].ndim != _BATCHED:
        raise call.refusal("several layers read a sample by itself; give it a batch")
    inner, sources, every = call, list[fx.Node](), list[Tensor]()
    for layer in range(given.layers):
        made = [_direction(inner, part) for part in given.weights(layer)]
        if call.in_head:
            return tree_map(lambda tensor: HEAD, call.value)
        every += made
        sequence = torch.cat(made).reshape((1,) * (call.value[0].ndim - 1) + (-1,))
        last = layer + 1 == given.layers
        sources.append(_all_steps(call, sequence) if last else _steps_below(call, given, layer, sequence))
        inner = replace(call, label_args=(Label(sequence, frozenset(sources[-1:])), *call.label_args[1:]))
    ends = torch.stack(every)
    label = Label(ends.unsqueeze(1) if call.value[0].ndim == _BATCHED else ends, frozenset(sources))
    return (Label(sequence, frozenset(sources[-1:])), *tree_map(lambda tensor: label, call.value[1:]))


_BATCHED = 3


@dataclass(frozen=True)
class _Given:
    """What a recurrent layer is given.

    Attributes:
        kind: The operation: gru, lstm, rnn_tanh or rnn_relu.
        hidden: The first hidden state.
        flat: All weights in order.
        biased: Whether there are biases.
        layers: How many layers there are.
        both: Whether they go in both directions.
        samples_first: Whether the first dimension is that of the samples, not of the steps.
    """

    kind: str
    hidden: Any
    flat: list[Tensor]
    biased: bool
    layers: int
    both: bool
    samples_first: bool

    def weights(self, layer: int) -> list[list[Tensor]]:
        """The weights of a layer, for each direction."""
        size = 4 if self.biased else 2
        first = layer * size * (1 + self.both)
        return [self.flat[first + size * way : first + size * (way + 1)] for way in range(1 + self.both)]


def _given(call: Call) -> _Given:
    if isinstance(call.operation, nn.RNNBase):
        module = call.operation
        if getattr(module, "proj_size", 0):
            raise call.refusal("it projects its hidden states")
        hidden = call.args[1] if len(call.args) > 1 else call.kwargs.get("hx")
        flat: list[Any] = list(module._flat_weights)
        options = module.bias, module.num_layers, module.bidirectional, module.batch_first
        return _Given(module.mode.lower(), hidden, flat, *options)
    names = (("has_biases", 3), ("num_layers", 4), ("bidirectional", 7), ("batch_first", 8))
    biased, layers, both, samples_first = (call.argument(name, place) for name, place in names)
    given = _Given(
        call.name, call.argument("hx", 1), list(call.argument("params", 2)), biased, layers, both, samples_first
    )
    if len(given.flat) != sum(map(len, given.weights(0))) * layers:
        raise call.refusal("it projects its hidden states")
    return given


def _direction(call: Call, weights: list[Tensor]) -> Tensor:
    """Enter one direction's weights; its units, shape ``(hidden_size,)``."""
    from_input, from_hidden, *biases = weights
    call.consume(from_input, column_dim=1, input_dim=-1)
    size = from_hidden.shape[1]
    if call.in_head:
        return torch.empty(0, dtype=torch.int64)
    ledger = call.ledger
    rows = ledger.produce(call.place(from_input, 0), len(from_input), use=call.node)
    units = rows[:size]
    ledger.units.unify(units.repeat(len(rows) // size), rows)
    for tensor in (from_hidden, *biases):
        ledger.enter(ledger.incoming, call.place(tensor, 0), rows, use=call.node)
    call.read(call.place(from_hidden, 1), units)
    return units


def _all_steps(call: Call, ids: Tensor) -> fx.Node:
    """The whole sequence of hidden states, which is watched even if the model uses the last one alone."""
    graph, wanted = call.node.graph, (operator.getitem, (call.node, 0))
    source = next((user for user in call.node.users if (user.target, user.args) == wanted), None)
    if source is None:
        with graph.inserting_after(call.node):
            source = graph.call_function(*wanted)
    call.ledger.readings[source] = ids.flatten().unique()
    return source


def _steps_below(call: Call, given: _Given, layer: int, ids: Tensor) -> fx.Node:
    """The whole sequence of hidden states of a layer that another one reads: computed apart, to be watched."""
    count = sum(len(part) for below in range(layer + 1) for part in given.weights(below))
    graph, x = call.node.graph, call.node.args[0]
    with graph.inserting_before(call.node):
        names = [call.place(tensor, 0)[0] for tensor in given.flat[:count]]
        weights = [graph.get_attr(name) for name in names]
        options = given.biased, layer + 1, given.both, given.samples_first
        source = graph.call_function(_run, (given.kind, options, x, weights))
    call.ledger.labels[source] = ids
    call.ledger.readings[source] = ids.flatten().unique()
    return source


def _run(kind: str, options: tuple[bool, int, bool, bool], x: Tensor, weights: list[Tensor]) -> Tensor:
    """All hidden states of the last of some layers, from zero."""
    biased, layers, both, samples_first = options
    samples = x.shape[0 if samples_first else 1]
    start = x.new_zeros(layers * (1 + both), samples, weights[1].shape[1])
    hidden = (start, start) if kind == "lstm" else start
    steps: Tensor = getattr(torch, kind)(x, hidden, weights, biased, layers, 0.0, False, both, samples_first)[0]
    return steps


RECURRENT = LayerKind(types=(nn.GRU, nn.LSTM, nn.RNN), rule=recurrent, functions="gru lstm rnn_tanh rnn_relu")
