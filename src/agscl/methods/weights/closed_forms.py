"""Closed forms of per-sample gradients: for each kind of layer, from its input and the gradient of its output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Magnitude = Callable[[Tensor], Tensor]
"""Square or absolute value: a function with f(ab) = f(a) f(b)."""

Sums = Iterator[tuple[str, Tensor]]
"""A layer's parameters by their local names, each with the sum of its magnitudes over the samples."""

LayerRule = Callable[[Any, Tensor, Tensor, Magnitude], Sums]
"""Maps a layer, its input, the gradient of its output, and a magnitude to the sums."""

FLOATS_AT_ONCE = 2**22
"""Most unfolded values held at once; small enough for a cache, large enough for a matrix product."""


def _linear(layer: nn.Linear, x: Tensor, g: Tensor, magnitude: Magnitude) -> Sums:
    x, g = (t.reshape(len(t), -1, t.shape[-1]) for t in (x, g))
    yield "weight", _products(g.transpose(1, 2), x.transpose(1, 2), magnitude)
    if layer.bias is not None:
        yield "bias", magnitude(g.sum(1)).sum(0)


def _convolution(layer: nn.Conv1d | nn.Conv2d, x: Tensor, g: Tensor, magnitude: Magnitude) -> Sums:
    if layer.bias is not None:
        yield "bias", magnitude(g.flatten(2).sum(2)).sum(0)
    x = _padded(layer, x)
    if isinstance(layer, nn.Conv1d):  # a signal is an image of height one
        x, g = x.unsqueeze(2), g.unsqueeze(2)
    size = layer.weight[0, 0].numel()
    at_once = max(1, FLOATS_AT_ONCE // (x.shape[1] * size * g.shape[2] * g.shape[3]))
    total = sum(
        _filters(layer, x_part, g_part, magnitude)
        for x_part, g_part in zip(x.split(at_once), g.split(at_once), strict=True)
    )
    yield "weight", torch.as_tensor(total).reshape(layer.weight.shape)


def _filters(layer: nn.Conv1d | nn.Conv2d, x: Tensor, g: Tensor, magnitude: Magnitude) -> Tensor:
    """Sum over samples for all filters, shape ``(groups, out_channels / groups, in_channels / groups * size)``."""
    kernel, stride, dilation = (
        (1, *v) if len(v) == 1 else v for v in (layer.kernel_size, layer.stride, layer.dilation)
    )
    patches = F.unfold(x, kernel, dilation=dilation, stride=stride).unflatten(1, (layer.groups, -1))
    return _products(g.flatten(2).unflatten(1, (layer.groups, -1)), patches, magnitude)


def _products(g: Tensor, x: Tensor, magnitude: Magnitude) -> Tensor:
    """Sum over samples of the magnitudes of ``g @ x.T``: ``(B, ..., O, L)`` and ``(B, ..., I, L)`` to ``(..., O, I)``.

    With one position (L = 1) the magnitude of a product is the product of magnitudes, and no per-sample gradient
    is ever made.
    """
    if g.shape[-1] == 1:
        return torch.einsum("b...ol,b...il->...oi", magnitude(g), magnitude(x))
    total = g.new_zeros(*g.shape[1:-1], x.shape[-2])
    at_once = max(1, FLOATS_AT_ONCE // total.numel())
    for g_part, x_part in zip(g.split(at_once), x.split(at_once), strict=True):
        total += magnitude(g_part @ x_part.transpose(-1, -2)).sum(0)
    return total


def _padded(layer: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)


def _batch_norm(layer: nn.modules.batchnorm._BatchNorm, x: Tensor, g: Tensor, magnitude: Magnitude) -> Sums:
    normal = F.batch_norm(x, layer.running_mean, layer.running_var, eps=layer.eps)
    return _channelwise(layer, normal, g, magnitude)


def _group_norm(layer: nn.GroupNorm, x: Tensor, g: Tensor, magnitude: Magnitude) -> Sums:
    return _channelwise(layer, F.group_norm(x, layer.num_groups, eps=layer.eps), g, magnitude)


def _channelwise(layer: nn.Module, normal: Tensor, g: Tensor, magnitude: Magnitude) -> Sums:
    """Channels along dimension 1."""
    shape = (*g.shape[:2], -1)
    return _affine(layer, normal.reshape(shape), g.reshape(shape), magnitude, dim=2)


def _layer_norm(layer: nn.LayerNorm, x: Tensor, g: Tensor, magnitude: Magnitude) -> Sums:
    normal = F.layer_norm(x, layer.normalized_shape, eps=layer.eps)
    shape = (len(x), -1, *layer.normalized_shape)
    return _affine(layer, normal.reshape(shape), g.reshape(shape), magnitude, dim=1)


def _affine(layer: nn.Module, normal: Tensor, g: Tensor, magnitude: Magnitude, *, dim: int) -> Sums:
    """Scale and shift behind a normalised value; positions along `dim`."""
    if layer.weight is not None:
        yield "weight", magnitude((g * normal).sum(dim)).sum(0)
    if layer.bias is not None:
        yield "bias", magnitude(g.sum(dim)).sum(0)


LAYERS: Mapping[type[nn.Module], LayerRule] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
}
"""Kinds of layers with a closed form; a subclass may compute something else and is not looked up."""
