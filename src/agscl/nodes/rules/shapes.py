"""Elements that change places, and sizes that change while channels stay."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import padding, pooling

from agscl.nodes.tracing.call import Call, Rule
from agscl.nodes.tracing.labels import AnyLabel, Label, compress, fill


def moves(call: Call) -> Any:
    """Elements only change places: do the same with their ids."""
    labels = call.labels
    if not any(isinstance(label, Label) for label in labels):
        return labels[0] if labels else None
    if not all(isinstance(label, Label) for label in labels):
        raise call.refusal("it joins nodes with a parameter or a head's output")
    args, kwargs = _ids(call.args, call.label_args), _ids(call.kwargs, call.label_kwargs)
    if call.node.op == "call_method":
        moved = getattr(args[0], str(call.node.target))(*args[1:], **kwargs)
    else:
        moved = call.operation(*args, **kwargs)
    sources = frozenset(source for label in labels if isinstance(label, Label) for source in label.sources)
    if isinstance(moved, Tensor):
        return Label(compress(moved), sources)
    return tuple(Label(compress(part), sources) for part in moved)


def item(call: Call) -> Any:
    """A part of a tensor, or one of several results."""
    several = isinstance(call.args[0], list | tuple) and call.label_args[0] is not None
    return call.label_args[0][call.args[1]] if several else moves(call)


def resizes(call: Call) -> AnyLabel:
    """Pooling, interpolation, padding: positions change, channels do not."""
    label = call.label
    if not isinstance(label, Label):
        return label
    kept = isinstance(call.value, Tensor) and call.value.shape[:2] == call.args[0].shape[:2]
    if not kept or any(size != 1 for size in label.ids.shape[2:]):
        raise call.refusal("it mixes positions that hold different nodes")
    return label


def _ids(values: Any, labels: Any) -> Any:
    """The arguments of an operation with every tensor replaced by the ids at its positions."""
    if isinstance(values, Tensor):
        return fill(labels, values).contiguous()
    if isinstance(values, Mapping):
        return {key: _ids(value, labels[key]) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(_ids(value, label) for value, label in zip(values, labels, strict=True))
    return values


MODULES: dict[type[nn.Module], Rule] = {
    **dict.fromkeys([nn.Flatten, nn.Unflatten, nn.ChannelShuffle], moves),
    **dict.fromkeys(
        [
            nn.Upsample, pooling._MaxPoolNd, pooling._AvgPoolNd, pooling._LPPoolNd, pooling._AdaptiveMaxPoolNd,
            pooling._AdaptiveAvgPoolNd, padding._ConstantPadNd, padding._ReflectionPadNd, padding._ReplicationPadNd,
            padding._CircularPadNd,
        ],
        resizes,
    ),
}  # fmt: skip

NAMES: dict[Rule, str] = {
    moves: "flatten unflatten view reshape permute transpose swapaxes movedim squeeze unsqueeze cat concat stack"
    " chunk split tensor_split unbind expand narrow select roll flip channel_shuffle",
    resizes: "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d"
    " adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d adaptive_avg_pool1d adaptive_avg_pool2d"
    " adaptive_avg_pool3d interpolate pad",
}

OPERATORS: dict[Any, Rule] = {operator.getitem: item}
