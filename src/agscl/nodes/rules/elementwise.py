"""Element by element: activations, what passes everything on, gates, sums and products."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from agscl.nodes.tracing.call import Call, Rule
from agscl.nodes.tracing.labels import HEAD, AnyLabel, HeadLabel, Label, ParameterLabel, compress, fill
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
    first, second = fill(label, call.args[0]).chunk(2, -1 if dim is None else dim)
    call.ledger.units.unify(first, second)
    return Label(compress(first), frozenset({call.node}))


def combines(call: Call) -> AnyLabel:
    """Sum, product or choice, element by element: what meets is one node.

    A factor that serves several nodes belongs to none of them, but all depend on it.
    """
    operands = [(value, label) for value, label in call.operands() if label is not None]
    labels = [label for _, label in operands]
    if any(isinstance(label, HeadLabel) for label in labels):
        if any(isinstance(label, Label) for label in labels):
            raise call.refusal("it joins nodes with a head's output")
        return HEAD
    if not labels:
        return None
    if len(labels) == 1 and isinstance(labels[0], ParameterLabel):
        return replace(labels[0], view=labels[0].positions.expand(call.value.shape))
    result = torch.full((1,) * call.value.ndim, NO_UNIT)
    for value, label in sorted(operands, key=lambda operand: isinstance(operand[1], ParameterLabel)):
        if isinstance(label, ParameterLabel) and _serves_several(call, label, result):
            call.ledger.serve(label.name, label.shape, result)
            continue
        ids = call.lifted(label, value)
        first, met = torch.broadcast_tensors(call.ledger.units.roots(result), ids)
        call.ledger.units.unify(first, met)
        result = compress(torch.where(first == NO_UNIT, met, first))
    scores = [label.scores for label in labels if isinstance(label, Label)]
    return replace(call.labelled(result), scores=all(scores) if call.name in _FACTORS else any(scores))


_FACTORS = ("mul", "multiply", "mul_", "imul", "div", "div_", "true_divide", "truediv", "pow")


def _serves_several(call: Call, label: ParameterLabel, ids: Tensor) -> bool:
    """Whether a position of a factor meets several nodes, so that it is shared."""
    if call.name not in _FACTORS:
        return False
    positions = label.positions.reshape((1,) * (ids.ndim - label.positions.ndim) + label.positions.shape)
    return any(n == 1 < many for n, many in zip(positions.shape, compress(ids).shape, strict=True))


def divides(call: Call) -> AnyLabel:
    """Division: by numbers, parameters, or nodes that cannot be zero."""
    by = call.node.args[1] if len(call.node.args) > 1 else None
    divisor = call.label_args[1] if len(call.label_args) > 1 else None
    if isinstance(divisor, Label) and not (isinstance(by, fx.Node) and _away_from_zero(by)):
        raise call.refusal("it divides by nodes, which may be zero; add a small number first, or clamp")
    return combines(call)


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
    return call.labelled(tied_along(call, label, 1 if dim is None else dim))


def softmax(call: Call) -> AnyLabel:
    """Softmax: all along its dimension is one node. What comes out are scores, which are one where all is zero."""
    label = call.units
    if not isinstance(label, Label):
        return label
    dim = call.argument("dim", 1)
    return replace(call.labelled(tied_along(call, label, -1 if dim is None else dim)), scores=True)


def tied_along(call: Call, label: Label, dim: int | Iterable[int]) -> Tensor:
    """The ids of a label after all along some dimensions was tied."""
    ids = before = call.lifted(label, call.args[0])
    for one in [dim] if isinstance(dim, int) else dim:
        first = ids.narrow(one, 0, 1)
        call.ledger.units.unify(first.expand_as(ids), ids)
        ids = first
    if ids.shape != before.shape:
        call.mark_stream(call.ledger.units.roots(ids))
    return call.ledger.units.roots(ids)


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
    softmax: "softmax _softmax",
    normalizes: "normalize",
    activation: "celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish relu relu6 rrelu"
    " selu sigmoid silu softplus softshrink softsign tanh tanhshrink threshold clamp clamp_min clamp_max clip abs neg"
    " square sqrt rsqrt exp expm1 log log1p erf sin cos tan atan sinh cosh sign reciprocal floor ceil round trunc"
    " nan_to_num positive log_sigmoid",
    gated_linear_unit: "glu",
    passes: "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout contiguous clone detach to"
    " float half bfloat16 double type_as feature_dropout alias"
    " native_dropout lift_fresh_copy lift_fresh _to_copy",
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
