"""ReLUs with learned slopes."""

from __future__ import annotations

from torch import nn

from agscl.nodes.tracing.call import Call
from agscl.nodes.tracing.labels import AnyLabel

from .kind import LayerKind


def prelu(call: Call) -> AnyLabel:
    """A ReLU with learned slopes: one for each channel, or one for all."""
    slopes = call.argument("weight", 1)
    if slopes.numel() > 1:
        call.own(call.ledger.incoming, slopes)
    else:
        call.ledger.shared.add(call.place(slopes, 0)[0])
    return call.elementwise()


PRELU = LayerKind(
    types=(nn.PReLU,), rule=prelu, functions="prelu", fit=lambda layer: {"num_parameters": len(layer.weight)}
)
