"""Look-up tables."""

from __future__ import annotations

from torch import nn

from agscl.nodes.tracing.call import Call
from agscl.nodes.tracing.labels import HEAD, AnyLabel, Label, ParameterLabel

from .kind import LayerKind


def embedding(call: Call) -> AnyLabel:
    """A look-up table: every column is a node."""
    weight = call.argument("weight", 1)
    if call.in_head:
        return HEAD
    if not isinstance(weight, nn.Parameter):
        if isinstance(call.label_of(weight), Label | ParameterLabel):
            raise call.refusal("its weight is computed and not a parameter of the model")
        return None  # a fixed table, of sines say
    return call.made(call.ledger.produce(call.place(weight, 1), weight.shape[1]), -1)


EMBEDDING = LayerKind(
    types=(nn.Embedding,),
    rule=embedding,
    functions="embedding",
    fit=lambda layer: {"embedding_dim": layer.weight.shape[1]},
)
