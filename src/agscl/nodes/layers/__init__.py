"""Layers with weights: one module a family, one row a kind in `KINDS`, from which all tables are built."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from .convolution import CONVOLUTION, CONVOLUTION_3D, TRANSPOSED_CONVOLUTION
from .embedding import EMBEDDING
from .kind import ClosedForm, LayerKind, Product
from .kind import Magnitude as Magnitude
from .linear import LINEAR
from .norm import BATCH_NORM, GROUP_NORM, INSTANCE_NORM, LAYER_NORM, PRELU, RMS_NORM
from .recurrent import RECURRENT
from .widened import Widened

KINDS: tuple[LayerKind, ...] = (
    LINEAR,
    CONVOLUTION,
    CONVOLUTION_3D,
    TRANSPOSED_CONVOLUTION,
    EMBEDDING,
    BATCH_NORM,
    INSTANCE_NORM,
    GROUP_NORM,
    LAYER_NORM,
    RMS_NORM,
    PRELU,
    RECURRENT,
)
"""Every kind of layer with weights that the library knows."""

_BY_TYPE: Mapping[type[nn.Module], LayerKind] = {module: kind for kind in KINDS for module in kind.types}

CLOSED_FORMS: Mapping[type[nn.Module], ClosedForm] = {
    module: kind.per_sample for module, kind in _BY_TYPE.items() if kind.per_sample is not None
}
"""Closed forms of per-sample gradients; a subclass may compute something else and is not looked up."""

PRODUCTS: Mapping[type[nn.Module], Product] = {
    module: kind.product for module, kind in _BY_TYPE.items() if kind.product is not None
}
"""Layers of rows and columns; a subclass may compute something else and is not looked up."""

WIDENED: Mapping[type[nn.Module], type[Widened]] = {
    plain: wide for wide in _BY_TYPE if issubclass(wide, Widened) for plain in (wide, wide.plain)
}
"""What each class of layers becomes when it is widened."""


GROWING = ", ".join(
    base.__name__.lstrip("_") + (f" ({kind.grows_if})" if kind.grows_if else "")
    for kind in KINDS
    if kind.grows is not LayerKind.grows
    for base in kind.types
    if not issubclass(base, Widened)
)
"""What can take new nodes, in words."""


def kind_of(module: nn.Module) -> LayerKind:
    """The kind of a layer, by its class or the nearest base that has one; an empty kind for all else."""
    return next((_BY_TYPE[base] for base in type(module).__mro__ if base in _BY_TYPE), LayerKind())
