"""Recurrent layers: a hidden state is a node, with the rows of all its gates and the column that reads it back."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_map

from agscl.nodes.tracing.call import Call
from agscl.nodes.tracing.labels import HEAD, Label

from .kind import LayerKind


def recurrent(call: Call) -> Any:
    """GRU, LSTM and plain recurrence, of one layer, in one direction or both.

    Where all that comes into a hidden state is zero it stays zero from one step to the next, as long as it begins so.

    Raises:
        TraceError: If there are several layers, or a hidden state that is not zero at the beginning.
    """
    hidden, weights, layers = _given(call)
    if layers != 1:
        raise call.refusal("the hidden states between its layers cannot be watched; stack modules of one layer each")
    states = hidden if isinstance(hidden, list | tuple) else [hidden]
    if any(state is not None and (call.label_of(state) is not None or bool(state.any())) for state in states):
        raise call.refusal("its hidden state does not begin at zero")
    made = [_direction(call, part) for part in weights]
    if call.in_head:
        return tree_map(lambda tensor: HEAD, call.value)
    sequence = torch.cat(made).reshape((1,) * (call.value[0].ndim - 1) + (-1,))
    steps = frozenset({_all_steps(call, sequence)})
    last = torch.stack(made)
    label = Label(last.unsqueeze(1) if call.value[0].ndim > 2 else last, steps)  # noqa: PLR2004 - a sample by itself
    return (Label(sequence, steps), *tree_map(lambda tensor: label, call.value[1:]))


def _given(call: Call) -> tuple[Any, list[list[Tensor]], int]:
    """The first hidden state, each direction's weights, and the number of layers."""
    if isinstance(call.operation, nn.RNNBase):
        module = call.operation
        if getattr(module, "proj_size", 0):
            raise call.refusal("it projects its hidden states")
        flat: list[Any] = list(module._flat_weights)
        biased, layers = module.bias, module.num_layers
        both, hidden = module.bidirectional, call.args[1] if len(call.args) > 1 else call.kwargs.get("hx")
    else:
        hidden, flat = call.argument("hx", 1), list(call.argument("params", 2))
        biased, layers = call.argument("has_biases", 3), call.argument("num_layers", 4)
        both = call.argument("bidirectional", 7)
    size = 4 if biased else 2
    if layers == 1 and len(flat) != size * (1 + both):
        raise call.refusal("it projects its hidden states")
    return hidden, [flat[start : start + size] for start in range(0, len(flat), size)], layers


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


RECURRENT = LayerKind(types=(nn.GRU, nn.LSTM, nn.RNN), rule=recurrent, functions="gru lstm rnn_tanh rnn_relu")
