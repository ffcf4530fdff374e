"""Linear layers."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from agscl.nodes.tracing.call import Call
from agscl.nodes.tracing.labels import AnyLabel

from .kind import LayerKind, Magnitude, Product, Sums, products
from .widened import Widened


def linear(call: Call) -> AnyLabel:
    """``y = W x + b``: columns read units, rows and bias make them."""
    weight = call.argument("weight", 1)
    if call.is_fixed(weight):
        return call.fixed_product()
    call.consume(weight, column_dim=1, input_dim=-1)
    return call.produce(weight, row_dim=0, output_dim=-1)


def _per_sample(layer: nn.Linear, x: Tensor, g: Tensor, magnitude: Magnitude) -> Sums:
    x, g = (t.reshape(len(t), -1, t.shape[-1]) for t in (x, g))
    yield "weight", products(g.transpose(1, 2), x.transpose(1, 2), magnitude)
    if layer.bias is not None:
        yield "bias", magnitude(g.sum(1)).sum(0)


_PRODUCT = Product(
    dim=-1,
    compute=lambda layer, x, weight, bias: F.linear(x, weight, bias),
    weight_gradient=lambda layer, g, x, weight: g.flatten(0, -2).T @ x.flatten(0, -2),
    input_gradient=lambda layer, g, x, weight: g @ weight,
    has_gradients=lambda layer: True,
)


class WidenedLinear(Widened, nn.Linear):
    """A linear layer with new rows or columns."""

    plain, product = nn.Linear, _PRODUCT


LINEAR = LayerKind(
    types=(nn.Linear, WidenedLinear),
    rule=linear,
    functions="linear",
    fit=lambda layer: {"out_features": layer.weight.shape[0], "in_features": layer.weight.shape[1]},
    grows=lambda layer: True,
    per_sample=_per_sample,
    product=_PRODUCT,
)
