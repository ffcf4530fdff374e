"""What closed forms of per-sample gradients share: sums over samples of the magnitudes of products."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .kind import Magnitude, Sums

FLOATS_AT_ONCE = 2**22
"""Most unfolded values held at once; small enough for a cache, large enough for a matrix product."""


def products(g: Tensor, x: Tensor, magnitude: Magnitude) -> Tensor:
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


def affine(layer: nn.Module, normal: Tensor, g: Tensor, magnitude: Magnitude, *, dim: int) -> Sums:
    """Scale and shift behind a normalised value; positions along `dim`."""
    if layer.weight is not None:
        yield "weight", magnitude((g * normal).sum(dim)).sum(0)
    if layer.bias is not None:
        yield "bias", magnitude(g.sum(dim)).sum(0)
