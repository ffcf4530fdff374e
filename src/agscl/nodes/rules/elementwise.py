"""Element by element: activations, what passes everything on, gates, sums and products."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from agscl.nodes.tracing.call import Call, Rule
from agscl.nodes.tracing.labels import HEAD, AnyLabel, Label, ParameterLabel, compress, fill
from agscl.nodes.tracing.ledger import NO_UNIT


def activation(call: Call) -> AnyLabel:
    """Element by element: units pass, and their activation can be read here."""
    return call.elementwise()


def passes(call: Call) -> AnyLabel:
    """Dropout, identity and their like."""
    label = call.label
    return call.elementwise() if isinstance(label, Label) and not label.sources else label


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
        return replace(parameters[0][1], computed=True) if parameters else None
    result = torch.full((1,) * call.value.ndim, NO_UNIT)
    for value, label in units if units and call.in_head else units + parameters:
        if isinstance(label, ParameterLabel) and _serves_several(label, result):
            call.ledger.serve(label.name, label.shape, result)
            continue
        first, met = torch.broadcast_tensors(call.ledger.units.roots(result), call.lifted(label, value))
        call.ledger.units.unify(first, met)
        result = compress(torch.where(first == NO_UNIT, met, first))
    scores = [label.scores for _, label in units if isinstance(label, Label)]
    return replace(call.labelled(result), scores=bool(scores) and (all if call.name in _FACTORS else any)(scores))


_FACTORS = ("mul", "multiply", "mul_", "imul")


def _serves_several(label: ParameterLabel, ids: Tensor) -> bool:
    """Whether a position of a parameter meets several nodes."""
    positions = label.positions.reshape((1,) * (ids.ndim - label.positions.ndim) + label.positions.shape)
    return any(n == 1 < many for n, many in zip(positions.shape, ids.shape, strict=True))


def divides(call: Call) -> AnyLabel:
    """Division of nodes by something that holds no nodes; a parameter that divides must not shrink, so all share it."""
    divisor = call.label_args[1] if len(call.label_args) > 1 else call.label_kwargs.get("other")
    by = call.node.args[1] if len(call.node.args) > 1 else None
    if isinstance(divisor, Label) and not (isinstance(by, fx.Node) and _away_from_zero(by)):
        raise call.refusal("it divides by nodes, which may be zero; add a small number first, or clamp")
    if not isinstance(divisor, ParameterLabel):
        return combines(call)
    label = call.units
    if not isinstance(label, Label):
        return label
    call.ledger.serve(divisor.name, divisor.shape, torch.full((1,), NO_UNIT))
    return call.labelled(call.lifted(label, call.args[0]).expand(call.value.shape))


def _away_from_zero(node: fx.Node) -> bool:
    """Whether an operation's result stays away from zero where its nodes are zero."""
    name = str(getattr(node.target, "_opname", getattr(node.target, "__name__", node.target)))
    if name in ("expand", "expand_as", "unsqueeze", "sqrt", "view", "reshape", "to"):
        return isinstance(node.args[0], fx.Node) and _away_from_zero(node.args[0])
    if name in ("clamp_min", "clamp", "clamp_min_", "add", "add_", "maximum", "iadd"):
        return any(isinstance(bound, int | float) and bound > 0 for bound in [*node.args[1:], node.kwargs.get("min")])
    return name in ("exp", "sigmoid", "softplus", "cosh")


def normalizes(call: Call) -> AnyLabel:
    """Division by the length along a dimension: all that has one length is one node."""
    label = call.units
    if not isinstance(label, Label):
        return label
    dim = call.argument("dim", 2)
    return call.labelled(tied_along(call, label, [1 if dim is None else dim]))


def softmax(call: Call) -> AnyLabel:
    """Softmax: all along its dimension is one node. What comes out are scores, which are one where all is zero."""
    label = call.units
    if not isinstance(label, Label):
        return label
    dim = call.argument("dim", 1)
    return replace(call.labelled(tied_along(call, label, [-1 if dim is None else dim])), scores=True)


def tied_along(call: Call, label: Label, dims: Iterable[int]) -> Tensor:
    """The ids of a label after all along some dimensions was made one unit."""
    before = compress(call.ledger.units.roots(label.ids))
    ids = call.ledger.units.merge(before, dims)
    if ids.shape != before.shape:
        call.mark_stream(ids)
    return ids


MODULES: dict[type[nn.Module], Rule] = {
    nn.GLU: gated_linear_unit,
    nn.Identity: passes,
    nn.Softmax: softmax,
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
    " square exp sqrt rsqrt expm1 log log1p erf sin cos tan atan sinh cosh sign reciprocal floor ceil round trunc"
    " nan_to_num positive log_sigmoid",
    softmax: "softmax _softmax",
    normalizes: "normalize",
    gated_linear_unit: "glu",
    passes: "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout contiguous clone detach to"
    " float half bfloat16 double type_as feature_dropout native_dropout lift_fresh_copy lift_fresh _to_copy",
    combines: "add sub rsub mul multiply pow where masked_fill maximum minimum addcmul lerp eq ne lt le gt ge"
    " logical_and logical_or bitwise_and __and__",
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
    operator.pow: combines,
}
