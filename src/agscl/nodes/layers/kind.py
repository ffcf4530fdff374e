"""What the library knows of a kind of layer: how it is traced, resized, widened, differentiated and spared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from agscl.nodes.tracing.call import Rule

Magnitude = Callable[[Tensor], Tensor]
"""Square or absolute value: a function with f(ab) = f(a) f(b)."""

Sums = Iterator[tuple[str, Tensor]]
"""A layer's parameters by their local names, each with the sum of its magnitudes over the samples."""

ClosedForm = Callable[[Any, Tensor, Tensor, Magnitude], Sums]
"""Maps a layer, its input, the gradient of its output, and a magnitude to the sums."""

FLOATS_AT_ONCE = 2**22
"""Most unfolded values held at once; small enough for a cache, large enough for a matrix product."""


@dataclass(frozen=True)
class Product:
    """A layer of rows and columns as a function of its weight, of which any part can be given.

    Attributes:
        dim: Dimension of the channels in its input and its output.
        compute: ``(layer, x, weight, bias)`` to the output.
        weight_gradient: ``(layer, gradient, x, weight)`` to the gradient of the weight; of the weight only the shape
            matters.
        input_gradient: ``(layer, gradient, x, weight)`` to the gradient of the columns that the weight has.
        has_gradients: Whether these two hold for a layer.
        row_dim: Dimension of the weight that holds the rows, which make outputs: 0 or 1. The other holds the columns.
    """

    dim: int
    compute: Callable[[Any, Tensor, Tensor, Tensor | None], Tensor]
    weight_gradient: Callable[[Any, Tensor, Tensor, Tensor], Tensor]
    input_gradient: Callable[[Any, Tensor, Tensor, Tensor], Tensor]
    has_gradients: Callable[[Any], bool]
    row_dim: int = 0


@dataclass(frozen=True)
class LayerKind:
    """One kind of layer. Only types and rule are needed; what is left out, the library does without.

    Attributes:
        types: Classes of its modules. A rule holds for subclasses that keep the forward, a closed form and a product
            for these very classes, what reads shapes alone for all subclasses.
        rule: How it is traced.
        functions: Names of the functions in torch that do the same, separated by spaces.
        elsewhere: Qualified names of classes of packages that need not be installed.
        fit: Resizing: the attributes of a layer that speak of shapes, from those of its tensors.
        grows: Whether a layer can take new nodes. One with a product is widened then, see `Widened`, and has a
            subclass of that in its types; the others get larger tensors.
        grows_if: In words, when it does; empty for always.
        num_groups: In how many groups of channels a layer works, of which only whole ones can be removed.
        per_sample: Closed form of per-sample gradients in eval mode, from the input and the gradient of the output.
        product: What makes it widen, and spares the backward pass what frozen nodes do not need.
        on_all_channels: ``(layer, channels, x)`` to the output for the channels that `x` holds (`None`: all), so that
            the layer's statistics go on as if the others were zero.
    """

    types: tuple[type[nn.Module], ...] = ()
    rule: Rule | None = None
    functions: str = ""
    elsewhere: tuple[str, ...] = ()
    fit: Callable[[Any], dict[str, int]] = lambda layer: {}
    grows: Callable[[Any], bool] = lambda layer: False
    grows_if: str = ""
    num_groups: Callable[[Any], int] = lambda layer: 1
    per_sample: ClosedForm | None = None
    product: Product | None = None
    on_all_channels: Callable[[Any, Tensor | None, Tensor], Tensor] | None = None


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
