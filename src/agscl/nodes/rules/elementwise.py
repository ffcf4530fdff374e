"""Element by element: activations, what passes everything on, gates, sums and products."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, nn

from agscl.nodes.tracing.call import Call, Rule
from agscl.nodes.tracing.labels import HEAD, AnyLabel, Label, ParameterLabel, compress, fill
from agscl.nodes.tracing.ledger import NO_UNIT


def activation(call: Call) -> AnyLabel:
    """Element by element: units pass, and their activation can be read here."""
    return call.elementwise()


def passes(call: Call) -> AnyLabel:
    """Dropout, identity and their like."""
    return call.label


def gated_linear_unit(call: Call) -> AnyLabel:
    """``a * sigmoid(b)`` of two halves: a node and its gate are one node."""
    label, dim = call.units, call.argument("dim", 1)
    if not isinstance(label, Label):
        return label
    halves = fill(label, call.args[0]).chunk(2, -1 if dim is None else dim)
    return call.labelled(call.ledger.units.merge(torch.stack(halves), [0])[0])


def combines(call: Call) -> AnyLabel:
    """Sum or product, element by element: what meets is one node.

    A position of a parameter that serves several nodes belongs to none of them, but all depend on it.
    """
    operands = [(value, label) for value, label in call.operands() if label is not None]
    units = [(value, label) for value, label in operands if isinstance(label, Label)]
    parameters = [(value, label) for value, label in operands if isinstance(label, ParameterLabel)]
    if len(operands) > len(units) + len(parameters):
        if units:
            raise call.refusal("it joins nodes with a head's output")
        return HEAD
    if not units and (not parameters or (len(parameters) == 1 and call.value.shape == parameters[0][0].shape)):
        return parameters[0][1] if parameters else None
    result = torch.full((1,) * call.value.ndim, NO_UNIT)
    for value, label in units if units and call.in_head else units + parameters:
        if isinstance(label, ParameterLabel) and _serves_several(label, result):
            call.ledger.serve(label.name, label.shape, result)
            continue
        first, met = torch.broadcast_tensors(call.ledger.units.roots(result), call.lifted(label, value))
        call.ledger.units.unify(first, met)
        result = compress(torch.where(first == NO_UNIT, met, first))
    return call.labelled(result)


def _serves_several(label: ParameterLabel, ids: Tensor) -> bool:
    """Whether a position of a parameter meets several nodes."""
    positions = label.positions.reshape((1,) * (ids.ndim - label.positions.ndim) + label.positions.shape)
    return any(n == 1 < many for n, many in zip(positions.shape, ids.shape, strict=True))


def divides(call: Call) -> AnyLabel:
    """Division of nodes by something that holds no nodes; a parameter that divides must not shrink, so all share it."""
    divisor = call.label_args[1] if len(call.label_args) > 1 else call.label_kwargs.get("other")
    if isinstance(divisor, Label):
        raise call.refusal("it divides by nodes")
    if not isinstance(divisor, ParameterLabel):
        return combines(call)
    label = call.units
    if not isinstance(label, Label):
        return label
    call.ledger.serve(divisor.name, divisor.shape, torch.full((1,), NO_UNIT))
    return call.labelled(call.lifted(label, call.args[0]).expand(call.value.shape))


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
    " square exp",
    gated_linear_unit: "glu",
    passes: "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout contiguous clone detach to"
    " float half bfloat16 double type_as",
    combines: "add sub rsub mul multiply",
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
