"""Products of nodes with nodes: attention. What meets in one head is one node.

A head is not recognised by its name or shape. All that meets in one product of matrices is tied, and what stays apart
are the leading dimensions: samples, where ids do not differ, and heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from agscl.nodes.tracing.call import Call, Rule
from agscl.nodes.tracing.labels import HEAD, AnyLabel, HeadLabel, Label, ParameterLabel
from agscl.nodes.tracing.ledger import NO_UNIT

from .elementwise import combines, tied_along

_MATRIX = 2


def matrix_product(call: Call) -> AnyLabel:
    """A product of matrices: with a parameter it is a linear layer, with another tensor of nodes it ties them."""
    (left, left_label), (right, right_label) = _sides(call)
    labels = left_label, right_label
    if any(isinstance(label, HeadLabel) for label in labels):
        if any(isinstance(label, Label) for label in labels):
            raise call.refusal("it joins nodes with a head's output")
        return HEAD
    if isinstance(right_label, ParameterLabel) and right.ndim == _MATRIX and call.name != "bmm":
        return _linear(call, (left, left_label), right, -1)
    if isinstance(left_label, ParameterLabel) and left.ndim == _MATRIX <= right.ndim:
        return _linear(call, (right, right_label), left, -2)
    if labels == (None, None):
        return None
    if left.ndim < _MATRIX or right.ndim < _MATRIX:
        raise call.refusal("it multiplies nodes with a vector")
    if None in labels:
        return _weighed(call, (right, right_label, -2) if left_label is None else (left, left_label, -1))
    met = _met(call, [(left, left_label), (right, right_label)])
    scores = all(isinstance(label, Label) and label.scores for label in labels)
    return _biased(call, replace(call.labelled(met), scores=scores))


def _linear(call: Call, read: tuple[Tensor, AnyLabel], weight: Tensor, dim: int) -> AnyLabel:
    """A layer whose weight stands on the right (``dim=-1``: outputs are its columns) or on the left."""
    inner = replace(call, args=(read[0], weight), label_args=(read[1], call.label_of(weight)))
    inner.consume(weight, column_dim=0 if dim == -1 else 1, input_dim=dim)
    return _biased(call, inner.produce(weight, row_dim=1 if dim == -1 else 0, output_dim=dim))


def _weighed(call: Call, side: tuple[Tensor, AnyLabel, int]) -> AnyLabel:
    """Sums of nodes with fixed weights: what ends up in one sum is one node."""
    value, label, dim = side
    inner = replace(call, args=(value,), label_args=(label,), kwargs={}, label_kwargs={})
    units = inner.units
    return inner.labelled(_leading(tied_along(inner, units, [dim]), call.value)) if isinstance(units, Label) else units


def attention(call: Call) -> AnyLabel:
    """Scaled dot-product attention: query, key, value, and what is added to the scores, of one head are one node."""
    values = [call.argument(name, place) for place, name in enumerate(("query", "key", "value", "attn_mask"))]
    labels = [None if value is None else call.label_of(value) for value in values]
    if any(isinstance(label, HeadLabel) for label in labels):
        return HEAD
    if not any(isinstance(label, Label | ParameterLabel) for label in labels):
        return None
    if labels[2] is None:
        raise call.refusal("it attends to values that hold no nodes")
    sides = []
    for place, (value, label) in enumerate(zip(values, labels, strict=True)):
        if isinstance(label, Label | ParameterLabel):
            ids = call.lifted(label, value)
            if place in (1, 2) and ids.ndim > _MATRIX and ids.shape[-3] > 1:  # a key or value serves a group of queries
                ids = ids.repeat_interleave(values[0].shape[-3] // value.shape[-3], -3)
            sides.append((value, Label(ids)))
    return call.labelled(_met(call, sides))


def _sides(call: Call) -> tuple[tuple[Tensor, AnyLabel], tuple[Tensor, AnyLabel]]:
    names = ("mat1", "mat2") if call.name in ("addmm", "mm", "baddbmm") else ("self", "other")
    first = 1 if call.name in ("addmm", "baddbmm") else 0
    args, labels = call.args, call.label_args
    if len(args) < first + 2:
        raise call.refusal(f"give {names[0]} and {names[1]} by position")
    return (args[first], labels[first]), (args[first + 1], labels[first + 1])


def _biased(call: Call, label: AnyLabel) -> AnyLabel:
    """What `addmm` adds comes into the nodes that the product makes."""
    if call.name not in ("addmm", "baddbmm") or not isinstance(label, Label):
        return label
    bias = call.args[0]
    if bias.ndim == 1 and label.ids.shape[-1] == bias.shape[0]:
        call.receive(bias, label.ids.flatten())
        return label
    return combines(
        replace(call, args=(bias, call.value), label_args=(call.label_args[0], label), kwargs={}, label_kwargs={})
    )


def _met(call: Call, sides: Sequence[tuple[Tensor, AnyLabel]]) -> Tensor:
    """One id for each leading position (sample, head), after all that meets there was tied."""
    units = call.ledger.units
    ids = [call.lifted(label, value) for value, label in sides]
    rank = max(each.ndim for each in ids)
    ids = [each.reshape((1,) * (rank - each.ndim) + each.shape) for each in ids]
    leading = torch.broadcast_shapes(*(each.shape[:-2] for each in ids))
    anchor = torch.full((*leading, 1, 1), NO_UNIT)
    for each in ids:
        each = each.expand(*leading, *each.shape[-2:])  # noqa: PLW2901
        best = each.amax((-1, -2), keepdim=True)
        anchor = torch.where(anchor < 0, best, anchor)
        units.unify(anchor.expand_as(each), each)
    return _leading(units.roots(anchor), call.value)


def _leading(ids: Tensor, value: Tensor) -> Tensor:
    return ids.reshape((1,) * (value.ndim - ids.ndim) + ids.shape)


NAMES: dict[Rule, str] = {
    matrix_product: "matmul bmm mm addmm baddbmm",
    attention: "scaled_dot_product_attention",
}
