"""Values that depend on several units: reductions over dimensions, and norms without weights."""

from __future__ import annotations

import torch
from torch import nn

from agscl.nodes.tracing.call import Call, Rule
from agscl.nodes.tracing.labels import AnyLabel, Label


def reduces(call: Call) -> AnyLabel:
    """Mean, sum or maximum over dimensions: nodes that end up in one value are one node."""
    label = call.label
    if not isinstance(label, Label):
        return label
    dim, keepdim = call.argument("dim", 1), call.argument("keepdim", 2) or False
    dims = tuple(range(label.ids.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    ids = label.ids
    for reduced in dims:
        first = ids.narrow(reduced, 0, 1)
        call.ledger.units.unify(first.expand_as(ids), ids)
        ids = first
    tied = not torch.equal(ids.expand_as(label.ids), label.ids)
    return Label(ids.amax(dims, keepdim=keepdim), frozenset({call.node}) if tied else label.sources)


def local_response_norm(call: Call) -> AnyLabel:
    """Neighbouring channels are normalised together, and so all of them hang together."""
    label = call.label
    if isinstance(label, Label):
        call.ledger.units.tie(call.along(label, 1, call.value.shape[1]))
    return call.elementwise()


MODULES: dict[type[nn.Module], Rule] = {nn.LocalResponseNorm: local_response_norm}

NAMES: dict[Rule, str] = {reduces: "mean sum amax amin", local_response_norm: "local_response_norm"}
