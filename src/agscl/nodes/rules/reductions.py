"""Values that depend on several units: reductions over dimensions, and norms without weights."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from agscl.nodes.tracing.call import Call, Rule
from agscl.nodes.tracing.labels import AnyLabel, Label


def reduces(call: Call) -> AnyLabel:
    """Mean, sum or maximum over dimensions: nodes that end up in one value are one node."""
    label = call.units
    if not isinstance(label, Label):
        return label
    dim, keepdim = call.argument("dim", 1), call.argument("keepdim", 2) or False
    dims = tuple(range(label.ids.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    ids = call.ledger.units.merge(label.ids, dims)
    made = call.labelled(ids.amax(dims, keepdim=keepdim))
    mixed = ids.shape != label.ids.shape or call.label is not label
    return made if mixed else replace(made, sources=label.sources)


def local_response_norm(call: Call) -> AnyLabel:
    """Neighbouring channels are normalised together, and so all of them hang together."""
    label = call.units
    if isinstance(label, Label):
        call.along(label, 1, call.value.shape[1])
        return call.labelled(call.ledger.units.merge(label.ids, range(1, label.ids.ndim)))
    return call.elementwise()


MODULES: dict[type[nn.Module], Rule] = {nn.LocalResponseNorm: local_response_norm}

NAMES: dict[Rule, str] = {reduces: "mean sum amax amin", local_response_norm: "local_response_norm"}
