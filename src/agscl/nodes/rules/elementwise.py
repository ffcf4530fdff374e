"""Element by element: activations, what passes everything on, gates, sums and products."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import nn

from agscl.nodes.tracing.call import Call, Rule
from agscl.nodes.tracing.labels import AnyLabel, HeadLabel, Label, ParameterLabel, compress, fill
from agscl.nodes.tracing.ledger import NO_UNIT


def activation(call: Call) -> AnyLabel:
    """Element by element: units pass, and their activation can be read here."""
    return call.elementwise()


def passes(call: Call) -> AnyLabel:
    """Dropout, identity and their like."""
    return call.label


def gated_linear_unit(call: Call) -> AnyLabel:
    """``a * sigmoid(b)`` of two halves: a node and its gate are one node."""
    label, dim = call.label, call.argument("dim", 1)
    if not isinstance(label, Label):
        return label
    first, second = fill(label, call.args[0]).chunk(2, -1 if dim is None else dim)
    call.ledger.units.unify(first, second)
    return Label(compress(first), frozenset({call.node}))


def combines(call: Call) -> AnyLabel:
    """Sum or product, element by element: what meets is one node."""
    labels = call.labels
    units = [label for label in labels if isinstance(label, Label)]
    if not units:
        return labels[0] if labels else None
    if any(isinstance(label, HeadLabel) for label in labels):
        raise call.refusal("it joins nodes with a head's output")
    result = torch.full((1,) * call.value.ndim, NO_UNIT)
    for label in units:
        result, met = torch.broadcast_tensors(result, label.ids)
        call.ledger.units.unify(result, met)
        result = torch.where(result == NO_UNIT, met, result)
    result = compress(result)
    for tensor, label in zip(call.args, call.label_args, strict=True):
        if isinstance(label, ParameterLabel):  # it comes into the nodes, along the one dimension that they fill
            varying = [dim for dim, size in enumerate(result.shape) if size > 1]
            dim = varying[0] - (result.ndim - tensor.ndim) if len(varying) == 1 else -1
            if dim < 0:
                raise call.refusal(f"it is not clear which node each position of {label.name!r} belongs to")
            if tensor.shape[dim] == 1:
                call.ledger.shared.add(label.name)
            else:
                call.ledger.enter(call.ledger.incoming, (label.name, dim), result.flatten())
    return Label(result, frozenset({call.node}))


def divides(call: Call) -> AnyLabel:
    """Division of nodes by a number or by something that holds no nodes."""
    if len(call.label_args) > 1 and isinstance(call.label_args[1], Label):
        raise call.refusal("it divides by nodes")
    return combines(call)


MODULES: dict[type[nn.Module], Rule] = {
    nn.GLU: gated_linear_unit,
    nn.Identity: passes,
    nn.modules.dropout._DropoutNd: passes,
    **dict.fromkeys(
        [
            nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU,
            nn.LogSigmoid, nn.Mish, nn.ReLU, nn.ReLU6, nn.RReLU, nn.SELU, nn.Sigmoid, nn.SiLU, nn.Softplus,
            nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold,
        ],
        activation,
    ),
}  # fmt: skip

NAMES: dict[Rule, str] = {
    activation: "celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish relu relu6 rrelu"
    " selu sigmoid silu softplus softshrink softsign tanh tanhshrink threshold clamp clamp_min clamp_max clip abs neg"
    " square",
    gated_linear_unit: "glu",
    passes: "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout contiguous clone detach to"
    " float half bfloat16 double type_as",
    combines: "add sub mul multiply",
    divides: "div true_divide",
}

OPERATORS: dict[Any, Rule] = {
    operator.add: combines,
    operator.iadd: combines,
    operator.sub: combines,
    operator.isub: combines,
    operator.mul: combines,
    operator.imul: combines,
    operator.truediv: divides,
    operator.neg: activation,
}
