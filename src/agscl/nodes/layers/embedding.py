"""Look-up tables."""

from __future__ import annotations

from torch import nn

from agscl.nodes.tracing.call import Call
from agscl.nodes.tracing.labels import HEAD, AnyLabel

from .kind import LayerKind


def embedding(call: Call) -> AnyLabel:
    """A look-up table: every column is a node. A table that is fixed (of sines, say) holds none."""
    weight = call.argument("weight", 1)
    if call.argument("max_norm", 3) is not None:
        raise call.refusal("max_norm changes rows that earlier tasks rely on; leave it out")
    if call.in_head:
        return HEAD
    if call.is_fixed(weight):
        return None
    place, (size, index) = call.axis(weight, 1)
    return call.made(call.ledger.produce(place, size, index, use=call.node), -1)


EMBEDDING = LayerKind(
    types=(nn.Embedding,),
    rule=embedding,
    functions="embedding",
    fit=lambda layer: {"embedding_dim": layer.weight.shape[1]},
)
