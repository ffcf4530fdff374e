"""Layers with a weight a channel: norms (batch, instance, group, layer, RMS), and ReLUs with learned slopes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agscl.nodes.tracing.call import Call
from agscl.nodes.tracing.labels import AnyLabel, Label
from agscl.nodes.tracing.ledger import NO_UNIT

from .kind import LayerKind, Magnitude, Sums


def batch_norm(call: Call) -> Any:
    """Batch and instance norm: every channel for itself."""
    call.own(call.ledger.incoming, call.argument("weight", 3), call.argument("bias", 4))
    call.own(call.ledger.statistics, call.argument("running_mean", 1), call.argument("running_var", 2))
    return call.elementwise() if isinstance(call.value, Tensor) else (call.elementwise(), None, None)


def group_norm(call: Call) -> AnyLabel:
    """Channels normalised together cannot be cut or frozen apart: a group of them is one node.

    The model's input in such a group takes up what the nodes beside it do, and so belongs to the node as well.
    """
    label, channels = call.label, call.value.shape[1] if call.value.ndim > 1 else 1
    if isinstance(label, Label):
        ids = call.along(label, 1, channels)
        groups = ids.reshape(call.argument("num_groups", 1), -1)
        tied = call.ledger.units.merge(groups, [1])
        call.mark_stream(tied)
        ids = tied.expand_as(groups).flatten()
        label = call.labelled(ids.reshape(1, channels, *[1] * (call.value.ndim - 2)))
    for tensor in (call.argument("weight", 2), call.argument("bias", 3)):
        if tensor is not None and not call.in_head:
            none = torch.full((channels,), NO_UNIT)
            call.receive(tensor, call.along(label, 1, channels) if isinstance(label, Label) else none)
    return label


def layer_norm(call: Call) -> AnyLabel:
    """All that is normalised together is one node, the model's input among it included.

    Where nodes differ along other dimensions (the heads behind a norm of queries), the scale serves them all and
    belongs to none.
    """
    label, pair = call.units, [call.argument("weight", 2), call.argument("bias", 3)]
    if isinstance(label, Label):
        dims = range(label.ids.ndim - len(call.argument("normalized_shape", 1)), label.ids.ndim)
        tied = call.ledger.units.merge(label.ids, dims)
        if tied.shape != label.ids.shape:
            call.mark_stream(tied)
        label = replace(call.labelled(tied), scores=label.scores)
    for tensor in [tensor for tensor in pair if isinstance(tensor, Tensor) and not call.in_head]:
        ids = label.ids.flatten() if isinstance(label, Label) else torch.full((1,), NO_UNIT)
        if len(ids) == 1:
            call.receive(tensor, ids.expand(tensor.shape[0]))
        elif not call.is_fixed(tensor):
            call.ledger.serve(call.axis(tensor, 0)[0][0], tensor.shape, ids)
    return label


def prelu(call: Call) -> AnyLabel:
    """A ReLU with learned slopes: one for each channel, or one for all, which belongs to nobody."""
    slopes = call.argument("weight", 1)
    if slopes.numel() > 1:
        call.own(call.ledger.incoming, slopes)
    elif not call.in_head and not call.is_fixed(slopes):
        call.ledger.shared.add(call.axis(slopes, 0)[0][0])
    return call.elementwise()


def _affine(layer: Any, normal: Tensor, g: Tensor, magnitude: Magnitude, positions: range) -> Sums:
    """Scale and shift behind a normalised value; positions are dimensions."""
    for name, each in (("weight", g * normal), ("bias", g)):
        if getattr(layer, name) is not None:
            yield name, magnitude(each.sum(tuple(positions)) if positions else each).sum(0)


def _on_all_channels(layer: Any, channels: Tensor | None, x: Tensor) -> Tensor:
    if channels is not None:
        x = x.new_zeros(x.shape[0], layer.num_features, *x.shape[2:]).index_copy(1, channels, x)
    output: Tensor = layer(x)
    return output if channels is None else output.index_select(1, channels)


BATCH_NORM = LayerKind(
    types=(nn.BatchNorm1d, nn.BatchNorm2d, nn.modules.batchnorm._BatchNorm),
    rule=batch_norm,
    functions="batch_norm _native_batch_norm_legit_no_training",
    elsewhere=("torchvision.ops.misc.FrozenBatchNorm2d",),
    fit=lambda layer: {"num_features": len(layer.running_mean if layer.weight is None else layer.weight)},
    grows=lambda layer: True,
    per_sample=lambda layer, x, g, magnitude: _affine(
        layer, F.batch_norm(x, layer.running_mean, layer.running_var, eps=layer.eps), g, magnitude, range(2, x.ndim)
    ),
    on_all_channels=_on_all_channels,
)
INSTANCE_NORM = replace(
    BATCH_NORM,
    types=(nn.modules.instancenorm._InstanceNorm,),
    functions="instance_norm",
    elsewhere=(),
    per_sample=None,
)
GROUP_NORM = LayerKind(
    types=(nn.GroupNorm,),
    rule=group_norm,
    functions="group_norm",
    fit=lambda layer: {
        "num_groups": layer.num_groups * len(layer.weight) // layer.num_channels,
        "num_channels": len(layer.weight),
    },
    per_sample=lambda layer, x, g, magnitude: _affine(
        layer, F.group_norm(x, layer.num_groups, eps=layer.eps), g, magnitude, range(2, x.ndim)
    ),
)
LAYER_NORM = LayerKind(
    types=(nn.LayerNorm,),
    rule=layer_norm,
    functions="layer_norm",
    per_sample=lambda layer, x, g, magnitude: _affine(
        layer,
        F.layer_norm(x, layer.normalized_shape, eps=layer.eps),
        g,
        magnitude,
        range(1, x.ndim - len(layer.normalized_shape)),
    ),
)
RMS_NORM = LayerKind(types=(nn.RMSNorm,), rule=layer_norm, functions="rms_norm")
PRELU = LayerKind(
    types=(nn.PReLU,), rule=prelu, functions="prelu", fit=lambda layer: {"num_parameters": len(layer.weight)}
)
