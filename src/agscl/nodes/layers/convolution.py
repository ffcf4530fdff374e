"""Convolutions: plain, in groups, depthwise, transposed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agscl.nodes.tracing.call import Call
from agscl.nodes.tracing.labels import HEAD, AnyLabel, Label
from agscl.nodes.tracing.ledger import NO_UNIT

from .kind import FLOATS_AT_ONCE, LayerKind, Magnitude, Product, Sums, products
from .widened import Widened

_Conv = nn.modules.conv._ConvNd

SAMPLES_AT_ONCE = 4
"""Groups of one convolution in `_as_groups`: with more, torch works on them less well."""


def convolution(call: Call) -> AnyLabel:
    """A convolution over any number of dimensions; a depthwise one belongs to the node that it filters.

    In groups, a column serves all of them and a row one, so inputs are tied by one of the two: the inputs of a group
    (cut by its rows) or those at the same position in every group (cut by their column), whichever leaves more nodes.
    """
    weight, groups = call.argument("weight", 1), call.argument("groups", 6) or 1
    label, channel_dim, width = call.label, 1 - weight.ndim, weight.shape[1]
    depthwise = groups > 1 and width == 1 and isinstance(label, Label)
    if call.is_fixed(weight) and not depthwise:
        return call.fixed_product()
    if groups == 1:
        call.consume(weight, column_dim=1, input_dim=channel_dim)
    elif isinstance(label, Label):
        if depthwise:
            return _filter(call, weight, channel_dim, groups)
        ids = call.along(label, channel_dim, groups * width).reshape(groups, width)
        if (ids == NO_UNIT).any():
            raise call.refusal("one group reads nodes and the model's input together")
        by_group = groups >= width
        for tied in ids if by_group else ids.T:
            call.ledger.units.tie(tied)
        if by_group:
            call.read(call.place(weight, 0), ids[:, 0].repeat_interleave(weight.shape[0] // groups))
        else:
            call.read(call.place(weight, 1), ids[0])
        call.watch(label)
    return call.produce(weight, row_dim=0, output_dim=channel_dim)


def transposed_convolution(call: Call) -> AnyLabel:
    """A transposed convolution: its weight holds inputs before outputs."""
    weight, groups = call.argument("weight", 1), call.argument("groups", 6) or 1
    channel_dim = 1 - weight.ndim
    depthwise = groups == weight.shape[0] > 1 and isinstance(call.label, Label)
    if call.is_fixed(weight) and not depthwise:
        return call.fixed_product()
    if groups == 1:
        call.consume(weight, column_dim=0, input_dim=channel_dim)
        return call.produce(weight, row_dim=1, output_dim=channel_dim)
    if depthwise:
        return _filter(call, weight, channel_dim, groups)
    raise call.refusal("transposed convolutions are known plain or depthwise, not in groups")


def _filter(call: Call, weight: Tensor, channel_dim: int, channels: int) -> AnyLabel:
    """Depthwise convolution of nodes: the filters of a channel come into that channel's node."""
    label: Any = call.label
    ids = call.along(label, channel_dim, channels)
    outputs = ids.repeat_interleave(call.value.shape[channel_dim] // channels)
    if not call.is_fixed(weight):
        place, part = call.axis(weight, 0)
        rows = ids.repeat_interleave(weight.shape[0] // channels)
        if call.in_head:
            call.ledger.enter(call.ledger.outgoing, place, rows, part, use=call.node)
            call.watch(label)
            return HEAD
        call.ledger.enter(call.ledger.incoming, place, rows, part, use=call.node)
    if (bias := call.argument("bias", 2)) is not None:
        call.receive(bias, outputs)
    return call.made(outputs, channel_dim)


def _fit(layer: _Conv) -> dict[str, int]:
    rows, width = layer.weight.shape[:2]
    made, read = ("in_channels", "out_channels") if layer.transposed else ("out_channels", "in_channels")
    groups = layer.groups * rows // getattr(layer, made) if layer.groups > 1 else 1
    return {"groups": groups, made: rows, read: width * groups}


def _per_sample(layer: _Conv, x: Tensor, g: Tensor, magnitude: Magnitude) -> Sums:
    if layer.bias is not None:
        yield "bias", magnitude(g.flatten(2).sum(2)).sum(0)
    x = F.pad(x, layer._reversed_padding_repeated_twice, mode=layer.padding_mode.replace("zeros", "constant"))
    if isinstance(layer, nn.Conv1d | nn.Conv2d) and x.device.type != "cpu":
        yield "weight", _unfolded(layer, x, g, magnitude)
    else:
        yield "weight", _as_groups(layer, x, g, magnitude)


def _as_groups(layer: _Conv, x: Tensor, g: Tensor, magnitude: Magnitude) -> Tensor:
    """Sums over samples for the weight, from padded inputs: some samples at once are the groups of one convolution.

    On CPUs that takes a third of the time of `_unfolded`: torch's convolutions are faster than products of patches, and
    gradients are still in the cache when their magnitudes are taken.
    """
    x, g, weight = x.contiguous(), g.contiguous(), layer.weight.detach()
    total, none = torch.zeros_like(weight), [0] * (x.ndim - 2)
    for x_some, g_some in zip(x.split(SAMPLES_AT_ONCE), g.split(SAMPLES_AT_ONCE), strict=True):
        count = len(x_some)
        geometry = (layer.stride, none, layer.dilation, False, none, count * layer.groups)
        as_one = (g_some.flatten(0, 1).unsqueeze(0), x_some.flatten(0, 1).unsqueeze(0))
        shaped = weight.new_empty(count * len(weight), *weight.shape[1:])  # of the weight only the shape matters
        gradient = torch.ops.aten.convolution_backward(*as_one, shaped, None, *geometry, [False, True, False])[1]
        total += magnitude(gradient.unflatten(0, (count, -1))).sum(0)
    return total


def _unfolded(layer: nn.Conv1d | nn.Conv2d, x: Tensor, g: Tensor, magnitude: Magnitude) -> Tensor:
    """The same with a product of patches for many samples at once."""
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    if isinstance(layer, nn.Conv1d):  # a signal is an image of height one
        x, g = x.unsqueeze(2), g.unsqueeze(2)
        kernel, stride, dilation = (1, *kernel), (1, *stride), (1, *dilation)
    g = g.flatten(2).unflatten(1, (layer.groups, -1))
    at_once = max(1, FLOATS_AT_ONCE // (x.shape[1] * layer.weight[0, 0].numel() * g.shape[-1]))
    total = torch.zeros_like(layer.weight, requires_grad=False)
    for x_part, g_part in zip(x.split(at_once), g.split(at_once), strict=True):
        patches = F.unfold(x_part, kernel, dilation=dilation, stride=stride).unflatten(1, (layer.groups, -1))
        total += products(g_part, patches, magnitude).reshape(total.shape)
    return total


def _compute(layer: _Conv, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    padding: Any = layer.padding
    if layer.padding_mode != "zeros":
        x, padding = F.pad(x, layer._reversed_padding_repeated_twice, mode=layer.padding_mode), 0
    compute = (F.conv1d, F.conv2d, F.conv3d)[weight.ndim - 3]
    groups = x.shape[1] if layer.groups > 1 else 1  # depthwise, with any number of channels
    output: Tensor = compute(x, weight, bias, layer.stride, padding, layer.dilation, groups)
    return output


def _gradient(layer: _Conv, g: Tensor, x: Tensor, weight: Tensor, *, of: int) -> Tensor:
    """The gradient of the input (0), of whose values only the shape matters, or of the weight (1)."""
    geometry = (layer.stride, layer.padding, layer.dilation, False, layer.output_padding, 1)
    read = x.narrow(1, 0, weight.shape[1])
    gradients = torch.ops.aten.convolution_backward(g, read, weight, None, *geometry, [of == 0, of == 1, False])
    result: Tensor = gradients[of]
    return result


_PRODUCT = Product(
    dim=1,
    compute=_compute,
    weight_gradient=partial(_gradient, of=1),
    input_gradient=partial(_gradient, of=0),
    has_gradients=lambda layer: layer.groups == 1 and layer.padding_mode == "zeros" and type(layer.padding) is not str,
)


def _compute_transposed(layer: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    compute = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[weight.ndim - 3]
    groups = x.shape[1] if layer.groups > 1 else 1  # depthwise, with any number of channels
    geometry = (layer.stride, layer.padding, layer.output_padding, groups, layer.dilation)
    output: Tensor = compute(x, weight, bias, *geometry)
    return output


_TRANSPOSED = replace(_PRODUCT, compute=_compute_transposed, has_gradients=lambda layer: False, row_dim=1)


class WidenedConv1d(Widened, nn.Conv1d):
    """A convolution with new rows or columns."""

    plain, product = nn.Conv1d, _PRODUCT


class WidenedConv2d(Widened, nn.Conv2d):
    """A convolution with new rows or columns."""

    plain, product = nn.Conv2d, _PRODUCT


class WidenedConv3d(Widened, nn.Conv3d):
    """A convolution with new rows or columns."""

    plain, product = nn.Conv3d, _PRODUCT


class WidenedConvTranspose1d(Widened, nn.ConvTranspose1d):
    """A transposed convolution with new rows or columns."""

    plain, product = nn.ConvTranspose1d, _TRANSPOSED


class WidenedConvTranspose2d(Widened, nn.ConvTranspose2d):
    """A transposed convolution with new rows or columns."""

    plain, product = nn.ConvTranspose2d, _TRANSPOSED


class WidenedConvTranspose3d(Widened, nn.ConvTranspose3d):
    """A transposed convolution with new rows or columns."""

    plain, product = nn.ConvTranspose3d, _TRANSPOSED


CONVOLUTION_3D = LayerKind(
    types=(nn.Conv3d, WidenedConv3d),
    rule=convolution,
    functions="conv3d",
    fit=_fit,
    grows=lambda layer: layer.groups in (1, layer.in_channels),
    grows_if="plain or depthwise",
    num_groups=lambda layer: layer.groups,
    per_sample=_per_sample,
    product=_PRODUCT,
)
CONVOLUTION = replace(
    CONVOLUTION_3D,
    types=(nn.Conv1d, nn.Conv2d, WidenedConv1d, WidenedConv2d),
    functions="conv1d conv2d",
)
TRANSPOSED_CONVOLUTION = LayerKind(
    types=(
        *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
        *(WidenedConvTranspose1d, WidenedConvTranspose2d, WidenedConvTranspose3d),
    ),
    rule=transposed_convolution,
    functions="conv_transpose1d conv_transpose2d conv_transpose3d",
    fit=_fit,
    grows=lambda layer: layer.groups in (1, layer.in_channels),
    grows_if="plain or depthwise",
    product=_TRANSPOSED,
)
