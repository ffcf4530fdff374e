"""What every operation does with units: one rule per kind of operation.

Producers mint units, norms and activations pass them on, flatten and view repeat them, cat joins them, add and
mul tie them, consumers read them. An operation without a rule is refused. The rules of layers with weights are in
`agscl.nodes.layers`, all others here by subject.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from agscl.nodes.layers import KINDS
from agscl.nodes.layers.convolution import convolution as convolution
from agscl.nodes.layers.convolution import transposed_convolution as transposed_convolution
from agscl.nodes.layers.embedding import embedding as embedding
from agscl.nodes.layers.linear import linear as linear
from agscl.nodes.layers.norm import batch_norm as batch_norm
from agscl.nodes.layers.norm import group_norm as group_norm
from agscl.nodes.layers.norm import layer_norm as layer_norm
from agscl.nodes.layers.norm import prelu as prelu
from agscl.nodes.tracing.call import Rule as Rule

from . import attention, elementwise, reductions, shapes
from .elementwise import activation as activation
from .elementwise import combines as combines
from .elementwise import divides as divides
from .elementwise import gated_linear_unit as gated_linear_unit
from .elementwise import passes as passes
from .reductions import local_response_norm as local_response_norm
from .reductions import reduces as reduces
from .shapes import item as item
from .shapes import moves as moves
from .shapes import resizes as resizes

_KINDS = [(kind, kind.rule) for kind in KINDS if kind.rule is not None]
_IN_PLACE = (activation, combines, divides)

MODULES: dict[type[nn.Module], Rule] = {
    **{module: rule for kind, rule in _KINDS for module in kind.types},
    **elementwise.MODULES,
    **shapes.MODULES,
    **reductions.MODULES,
}
"""Rules by module type; a subclass that keeps the forward of its base follows the base's rule."""

_NAMES = [item for room in (elementwise, shapes, reductions, attention) for item in room.NAMES.items()]

METHODS: dict[str, Rule] = {
    **{name: rule for kind, rule in _KINDS for name in kind.functions.split()},
    **{name: rule for rule, names in _NAMES for name in names.split()},
    **{f"{name}_": rule for rule, names in _NAMES if rule in _IN_PLACE for name in names.split()},
}
"""Rules by the name of a tensor method, or of an operation of ATen."""

FUNCTIONS: dict[Any, Rule] = {
    function: rule
    for name, rule in METHODS.items()
    for home in (F, torch)
    if (function := getattr(home, name, None)) is not None
} | {**elementwise.OPERATORS, **shapes.OPERATORS, operator.matmul: attention.matrix_product}
"""Rules by function."""

QUALIFIED: dict[str, Rule] = {
    "torchvision.ops.stochastic_depth.stochastic_depth": passes,
    "timm.layers.drop.drop_path": passes,
    **{name: rule for kind, rule in _KINDS for name in kind.elsewhere},
}
"""Rules by qualified name, for packages that need not be installed."""
