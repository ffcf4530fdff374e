"""What rules of layers with weights share: columns read units, rows make them, channels own what serves them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from agscl.nodes.tracing.call import Call
from agscl.nodes.tracing.labels import HEAD, AnyLabel, HeadLabel, Label
from agscl.nodes.tracing.ledger import Place


def consume(call: Call, weight: Tensor, column_dim: int, input_dim: int) -> None:
    """Enter that the positions of a weight along `column_dim` read the units along `input_dim` of the first input.

    Raises:
        TraceError: If the input is a parameter or a head's output, or mixes units.
    """
    label = call.label
    if isinstance(label, Label):
        ids = call.along(label, input_dim, weight.shape[column_dim])
        call.read(call.place(weight, column_dim), ids)
        call.watch(label, ids, input_dim)
    elif label is not None and not (isinstance(label, HeadLabel) and call.in_head):
        raise call.refusal("it works on a parameter, or on a head's output without being part of a head")


def produce(call: Call, weight: Tensor, row_dim: int, output_dim: int) -> AnyLabel:
    """New units along `output_dim` of the result, made by the positions of a weight along `row_dim` and by the bias."""
    if call.in_head:
        return HEAD
    ids = call.ledger.produce(call.place(weight, row_dim), weight.shape[row_dim])
    bias = call.argument("bias", 2)
    if bias is not None:
        call.ledger.enter(call.ledger.incoming, call.place(bias, 0), ids)
    return call.made(ids, output_dim)


def own(call: Call, entries: dict[Place, Tensor], tensors: Iterable[Tensor | None]) -> None:
    """Enter per-channel tensors as belonging to the units of dimension 1; on the model's input nobody owns them."""
    label = call.label
    for tensor in [tensor for tensor in tensors if tensor is not None and not call.in_head]:
        name, dim = call.place(tensor, 0)
        if isinstance(label, Label):
            call.ledger.enter(entries, (name, dim), call.along(label, 1, tensor.shape[0]))
        else:
            call.ledger.shared.add(name)
