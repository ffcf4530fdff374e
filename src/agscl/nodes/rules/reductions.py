"""Values that depend on several units: reductions over dimensions, and norms without weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from agscl.nodes.tracing.call import Call, Rule
from agscl.nodes.tracing.labels import AnyLabel, Label

from .elementwise import combines, tied_along


def reduces(call: Call) -> AnyLabel:
    """Mean, sum or maximum over dimensions: nodes that end up in one value are one node."""
    label = call.units
    if not isinstance(label, Label):
        return label
    dim, keepdim = call.argument("dim", 1), call.argument("keepdim", 2) or False
    dims = tuple(range(label.ids.ndim)) if dim in (None, []) else (dim,) if isinstance(dim, int) else tuple(dim)
    ids = tied_along(call, label, dims)
    made = call.labelled(ids.amax(dims, keepdim=keepdim))
    mixed = ids.shape != label.ids.shape or call.label is not label
    return made if mixed else replace(made, sources=label.sources or made.sources)


def extremes(call: Call) -> Any:
    """The largest or smallest: of two tensors, of all, or along a dimension with its place."""
    if isinstance(call.value, Tensor):
        return combines(call) if len(call.operands()) > 1 else reduces(call)
    return (reduces(call), None) if isinstance(call.units, Label) else call.label


def local_response_norm(call: Call) -> AnyLabel:
    """Neighbouring channels are normalised together, and so all of them hang together."""
    label = call.units
    if isinstance(label, Label):
        call.along(label, 1, call.value.shape[1])
        return call.labelled(call.ledger.units.merge(label.ids, range(1, label.ids.ndim)))
    return call.elementwise()


MODULES: dict[type[nn.Module], Rule] = {nn.LocalResponseNorm: local_response_norm}

NAMES: dict[Rule, str] = {
    reduces: "mean sum amax amin var std linalg_vector_norm logsumexp prod",
    extremes: "max min",
    local_response_norm: "local_response_norm",
}
