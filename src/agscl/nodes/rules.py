"""What every operation does with units: one rule per kind of operation.

Producers mint units, norms and activations pass them on, flatten and view repeat them, cat joins them, add and
mul tie them, consumers read them. An operation without a rule is refused.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .surgery.widened import WidenedConv1d, WidenedConv2d, WidenedLinear
from .tracing.call import Call
from .tracing.labels import HEAD, AnyLabel, HeadLabel, Label, ParameterLabel, compress, fill
from .tracing.ledger import Place
from .tracing.units import NO_UNIT

Rule = Callable[[Call], Any]
"""Takes a call, writes into its ledger, returns the label (or tuple of labels) of its result."""


def linear(call: Call) -> AnyLabel:
    """``y = W x + b``: columns read units, rows and bias make them."""
    weight = call.argument("weight", 1)
    _consume(call, weight, column_dim=1, input_dim=-1)
    return _produce(call, weight, row_dim=0, output_dim=-1)


def convolution(call: Call) -> AnyLabel:
    """A convolution over any number of dimensions; a depthwise one belongs to the node that it filters."""
    weight, groups = call.argument("weight", 1), call.argument("groups", 6) or 1
    channel_dim = 1 - weight.ndim
    if groups == 1:
        _consume(call, weight, column_dim=1, input_dim=channel_dim)
    elif weight.shape[1] == 1 and isinstance(call.label, Label):
        return _filter(call, weight, channel_dim, groups)
    else:
        _consume_groups(call, weight, groups, channel_dim)
    return _produce(call, weight, row_dim=0, output_dim=channel_dim)


def transposed_convolution(call: Call) -> AnyLabel:
    """A transposed convolution: its weight holds inputs before outputs."""
    weight, groups = call.argument("weight", 1), call.argument("groups", 6) or 1
    channel_dim = 1 - weight.ndim
    if groups == 1:
        _consume(call, weight, column_dim=0, input_dim=channel_dim)
        return _produce(call, weight, row_dim=1, output_dim=channel_dim)
    if groups == weight.shape[0] and isinstance(call.label, Label):
        return _filter(call, weight, channel_dim, groups)
    raise call.refusal("transposed convolutions are known plain or depthwise, not in groups")


def embedding(call: Call) -> AnyLabel:
    """A look-up table: every column is a node."""
    weight = call.argument("weight", 1)
    if call.in_head:
        return HEAD
    return call.made(call.ledger.produce(call.place(weight, 1), weight.shape[1]), -1)


def batch_norm(call: Call) -> AnyLabel:
    """Batch and instance norm: every channel for itself."""
    affine = [call.argument("weight", 3), call.argument("bias", 4)]
    statistics = [call.argument("running_mean", 1), call.argument("running_var", 2)]
    _own(call, call.ledger.incoming, affine)
    _own(call, call.ledger.statistics, statistics)
    return activation(call)


def group_norm(call: Call) -> AnyLabel:
    """Channels normalised together cannot be cut or frozen apart: a group of them is one node."""
    label = call.label
    if isinstance(label, Label):
        ids = call.along(label, 1, call.value.shape[1])
        for group in ids.chunk(call.argument("num_groups", 1)):
            call.ledger.units.tie(group)
    _own(call, call.ledger.incoming, [call.argument("weight", 2), call.argument("bias", 3)])
    return activation(call)


def layer_norm(call: Call) -> AnyLabel:
    """All that is normalised together is one node."""
    label, affine = call.label, [call.argument("weight", 2), call.argument("bias", 3)]
    if not isinstance(label, Label):
        _own(call, call.ledger.incoming, affine)
        return label
    _normalised_together(call, label, len(call.argument("normalized_shape", 1)))
    if not call.in_head:
        for tensor in [tensor for tensor in affine if tensor is not None]:
            ids = label.ids.flatten()[:1].expand(tensor.shape[0])
            call.ledger.enter(call.ledger.incoming, call.place(tensor, 0), ids)
    return activation(call)


def local_response_norm(call: Call) -> AnyLabel:
    """Neighbouring channels are normalised together, and so all of them hang together."""
    label = call.label
    if isinstance(label, Label):
        call.ledger.units.tie(call.along(label, 1, call.value.shape[1]))
    return activation(call)


def activation(call: Call) -> AnyLabel:
    """Element by element: units pass, and their activation can be read here."""
    label = call.label
    return Label(label.ids, frozenset({call.node})) if isinstance(label, Label) else label


def prelu(call: Call) -> AnyLabel:
    """A ReLU with learned slopes: one for each channel, or one for all."""
    slopes = call.argument("weight", 1)
    if slopes.numel() > 1:
        _own(call, call.ledger.incoming, [slopes])
    else:
        call.ledger.shared.add(call.place(slopes, 0)[0])
    return activation(call)


def gated_linear_unit(call: Call) -> AnyLabel:
    """``a * sigmoid(b)`` of two halves: a node and its gate are one node."""
    label, dim = call.label, call.argument("dim", 1)
    if not isinstance(label, Label):
        return label
    value = call.args[0]
    first, second = compress(fill(label, value)).expand(value.shape).chunk(2, -1 if dim is None else dim)
    call.ledger.units.unify(first, second)
    return Label(compress(first), frozenset({call.node}))


def passes(call: Call) -> AnyLabel:
    """Dropout, identity and their like."""
    return call.label


def resizes(call: Call) -> AnyLabel:
    """Pooling, interpolation, padding: positions change, channels do not."""
    label = call.label
    if not isinstance(label, Label):
        return label
    kept = isinstance(call.value, Tensor) and call.value.shape[:2] == call.args[0].shape[:2]
    if not kept or any(size != 1 for size in label.ids.shape[2:]):
        raise call.refusal("it mixes positions that hold different nodes")
    return label


def reduces(call: Call) -> AnyLabel:
    """Mean, sum or maximum over dimensions: nodes that end up in one value are one node."""
    label = call.label
    if not isinstance(label, Label):
        return label
    dim, keepdim = call.argument("dim", 1), call.argument("keepdim", 2) or False
    dims = tuple(range(label.ids.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    ids = label.ids
    for reduced in dims:
        first = ids.narrow(reduced, 0, 1)
        call.ledger.units.unify(first.expand_as(ids), ids)
        ids = first
    tied = not torch.equal(ids.expand_as(label.ids), label.ids)
    return Label(ids.amax(dims, keepdim=keepdim), frozenset({call.node}) if tied else label.sources)


def moves(call: Call) -> Any:
    """Elements only change places: do the same with their ids."""
    labels = call.labels
    if not any(isinstance(label, Label) for label in labels):
        return labels[0] if labels else None
    if not all(isinstance(label, Label) for label in labels):
        raise call.refusal("it joins nodes with a parameter or a head's output")
    args, kwargs = _ids(call.args, call.label_args), _ids(call.kwargs, call.label_kwargs)
    moved = _operation(call)(*args, **kwargs)
    sources = frozenset(source for label in labels if isinstance(label, Label) for source in label.sources)
    if isinstance(moved, Tensor):
        return Label(compress(moved), sources)
    return tuple(Label(compress(part), sources) for part in moved)


def item(call: Call) -> Any:
    """A part of a tensor, or one of several results."""
    several = isinstance(call.args[0], list | tuple) and call.label_args[0] is not None
    return call.label_args[0][call.args[1]] if several else moves(call)


def combines(call: Call) -> AnyLabel:
    """Sum or product, element by element: what meets is one node."""
    labels = call.labels
    units = [label for label in labels if isinstance(label, Label)]
    if not units:
        return labels[0] if labels else None
    if any(isinstance(label, HeadLabel) for label in labels):
        raise call.refusal("it joins nodes with a head's output")
    ids = [label.ids.reshape((1,) * (call.value.ndim - label.ids.ndim) + label.ids.shape) for label in units]
    result = ids[0]
    for other in ids[1:]:
        result, met = torch.broadcast_tensors(result, other)
        call.ledger.units.unify(result, met)
        result = torch.where(result == NO_UNIT, met, result)
    for tensor, label in zip(call.args, call.label_args, strict=True):
        if isinstance(label, ParameterLabel):
            _scale(call, label.name, tensor.shape, compress(result))
    return Label(compress(result), frozenset({call.node}))


def divides(call: Call) -> AnyLabel:
    """Division of nodes by a number or by something that holds no nodes."""
    if len(call.label_args) > 1 and isinstance(call.label_args[1], Label):
        raise call.refusal("it divides by nodes")
    return combines(call)


def _consume(call: Call, weight: Tensor, column_dim: int, input_dim: int) -> None:
    label = call.label
    if isinstance(label, Label):
        ids = call.along(label, input_dim, weight.shape[column_dim])
        call.read(call.place(weight, column_dim), ids)
        call.watch(label, ids, input_dim)
    elif label is not None and not (isinstance(label, HeadLabel) and call.in_head):
        raise call.refusal("it works on a parameter, or on a head's output without being part of a head")


def _produce(call: Call, weight: Tensor, row_dim: int, output_dim: int) -> AnyLabel:
    if call.in_head:
        return HEAD
    ids = call.ledger.produce(call.place(weight, row_dim), weight.shape[row_dim])
    bias = call.argument("bias", 2)
    if bias is not None:
        call.ledger.enter(call.ledger.incoming, call.place(bias, 0), ids)
    return call.made(ids, output_dim)


def _filter(call: Call, weight: Tensor, channel_dim: int, channels: int) -> AnyLabel:
    """Depthwise convolution: the filters of a channel come into that channel's node."""
    label = call.label
    assert isinstance(label, Label)
    ids = call.along(label, channel_dim, channels)
    rows = ids.repeat_interleave(weight.shape[0] // channels)
    if call.in_head:
        call.read(call.place(weight, 0), rows)
        call.watch(label, ids, channel_dim)
        return HEAD
    call.ledger.enter(call.ledger.incoming, call.place(weight, 0), rows)
    bias = call.argument("bias", 2)
    outputs = ids.repeat_interleave(call.value.shape[channel_dim] // channels)
    if bias is not None:
        call.ledger.enter(call.ledger.incoming, call.place(bias, 0), outputs)
    return call.made(outputs, channel_dim)


def _consume_groups(call: Call, weight: Tensor, groups: int, channel_dim: int) -> None:
    """Grouped convolution: a column serves all groups and a row one group, so inputs are tied by one of the two.

    Tied are the inputs of a group (cut by its rows) or those at the same place in every group (cut by their
    column), whichever leaves more nodes.
    """
    label, width = call.label, weight.shape[1]
    if not isinstance(label, Label):
        return
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
    call.watch(label, ids.flatten(), channel_dim)


def _own(call: Call, book: dict[Place, Tensor], tensors: Iterable[Tensor | None]) -> None:
    """Enter per-channel tensors as belonging to the units of dimension 1; on the model's input nobody owns them."""
    label = call.label
    for tensor in [tensor for tensor in tensors if tensor is not None and not call.in_head]:
        name, dim = call.place(tensor, 0)
        if isinstance(label, Label):
            call.ledger.enter(book, (name, dim), call.along(label, 1, tensor.shape[0]))
        else:
            call.ledger.shared.add(name)


def _normalised_together(call: Call, label: Label, num_dims: int) -> None:
    if any(size != 1 for size in label.ids.shape[:-num_dims]):
        raise call.refusal("its scale serves positions that hold different nodes")
    call.ledger.units.tie(label.ids.flatten())


def _scale(call: Call, name: str, shape: torch.Size, ids: Tensor) -> None:
    """A parameter added to or multiplied with nodes comes into them, along the one dimension that they fill."""
    varying = [dim for dim, size in enumerate(ids.shape) if size > 1]
    dim = varying[0] - (ids.ndim - len(shape)) if len(varying) == 1 else -1
    if dim < 0:
        raise call.refusal(f"it is not clear which node each position of {name!r} belongs to")
    if shape[dim] == 1:
        call.ledger.shared.add(name)
    else:
        call.ledger.enter(call.ledger.incoming, (name, dim), ids.flatten())


def _operation(call: Call) -> Callable[..., Any]:
    if call.node.op == "call_method":
        return lambda first, *rest, **named: getattr(first, str(call.node.target))(*rest, **named)
    return call.operation  # type: ignore[no-any-return]


def _ids(values: Any, labels: Any) -> Any:
    """The arguments of an operation with every tensor replaced by the ids at its positions."""
    if isinstance(values, Tensor):
        return fill(labels, values).contiguous()
    if isinstance(values, Mapping):
        return {key: _ids(value, labels[key]) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(_ids(value, label) for value, label in zip(values, labels, strict=True))
    return values


_ACTIVATIONS = [
    "celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish relu relu6 rrelu selu",
    "sigmoid silu softplus softshrink softsign tanh tanhshrink threshold",
]
_ACTIVATION_MODULES: list[type[nn.Module]] = [
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU,
    nn.LogSigmoid, nn.Mish, nn.ReLU, nn.ReLU6, nn.RReLU, nn.SELU, nn.Sigmoid, nn.SiLU, nn.Softplus,
    nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold,
]  # fmt: skip

MODULES: dict[type[nn.Module], Rule] = {
    nn.Linear: linear,
    nn.Conv1d: convolution,
    nn.Conv2d: convolution,
    nn.Conv3d: convolution,
    WidenedLinear: linear,
    WidenedConv1d: convolution,
    WidenedConv2d: convolution,
    nn.ConvTranspose1d: transposed_convolution,
    nn.ConvTranspose2d: transposed_convolution,
    nn.ConvTranspose3d: transposed_convolution,
    nn.Embedding: embedding,
    nn.modules.batchnorm._BatchNorm: batch_norm,
    nn.modules.instancenorm._InstanceNorm: batch_norm,
    nn.GroupNorm: group_norm,
    nn.LayerNorm: layer_norm,
    nn.RMSNorm: layer_norm,
    nn.LocalResponseNorm: local_response_norm,
    nn.PReLU: prelu,
    nn.GLU: gated_linear_unit,
    nn.Identity: passes,
    nn.modules.dropout._DropoutNd: passes,
    nn.Flatten: moves,
    nn.Unflatten: moves,
    nn.ChannelShuffle: moves,
    nn.Upsample: resizes,
    nn.modules.pooling._MaxPoolNd: resizes,
    nn.modules.pooling._AvgPoolNd: resizes,
    nn.modules.pooling._LPPoolNd: resizes,
    nn.modules.pooling._AdaptiveMaxPoolNd: resizes,
    nn.modules.pooling._AdaptiveAvgPoolNd: resizes,
    nn.modules.padding._ConstantPadNd: resizes,
    nn.modules.padding._ReflectionPadNd: resizes,
    nn.modules.padding._ReplicationPadNd: resizes,
    nn.modules.padding._CircularPadNd: resizes,
    **dict.fromkeys(_ACTIVATION_MODULES, activation),
}
"""Rules by module type; a subclass that keeps the forward of its base follows the base's rule."""

_BY_NAME: dict[Rule, str] = {
    linear: "linear",
    convolution: "conv1d conv2d conv3d",
    transposed_convolution: "conv_transpose1d conv_transpose2d conv_transpose3d",
    batch_norm: "batch_norm instance_norm",
    group_norm: "group_norm",
    layer_norm: "layer_norm rms_norm",
    local_response_norm: "local_response_norm",
    prelu: "prelu",
    gated_linear_unit: "glu",
    activation: " ".join(_ACTIVATIONS) + " clamp clamp_min clamp_max clip abs neg square",
    passes: "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout contiguous clone detach to"
    " float half bfloat16 double type_as",
    moves: "flatten unflatten view reshape permute transpose swapaxes movedim squeeze unsqueeze cat concat stack"
    " chunk split tensor_split unbind expand narrow select roll flip channel_shuffle",
    resizes: "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d"
    " adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d adaptive_avg_pool1d adaptive_avg_pool2d"
    " adaptive_avg_pool3d interpolate pad",
    reduces: "mean sum amax amin",
    combines: "add sub mul multiply",
    divides: "div true_divide",
}

METHODS: dict[str, Rule] = {name: rule for rule, names in _BY_NAME.items() for name in names.split()} | {
    f"{name}_": rule for rule in (activation, combines, divides) for name in _BY_NAME[rule].split()
}
"""Rules by the name of a tensor method."""

FUNCTIONS: dict[Any, Rule] = {
    function: rule
    for name, rule in METHODS.items()
    for home in (F, torch)
    if (function := getattr(home, name, None)) is not None
} | {
    operator.add: combines,
    operator.iadd: combines,
    operator.sub: combines,
    operator.isub: combines,
    operator.mul: combines,
    operator.imul: combines,
    operator.truediv: divides,
    operator.neg: activation,
    operator.getitem: item,
}
"""Rules by function."""

QUALIFIED: dict[str, Rule] = {
    "torchvision.ops.stochastic_depth.stochastic_depth": passes,
    "torchvision.ops.misc.FrozenBatchNorm2d": batch_norm,
    "timm.layers.drop.drop_path": passes,
}
"""Rules by qualified name, for packages that need not be installed."""
