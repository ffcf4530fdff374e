"""Elements that change places, and sizes that change while channels stay."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn import functional as F
from torch.nn.modules import padding, pooling

from agscl.nodes.tracing.call import Call, Rule
from agscl.nodes.tracing.labels import HEAD, AnyLabel, HeadLabel, Label, ParameterLabel, labels_in
from agscl.nodes.tracing.ledger import NO_UNIT


def moves(call: Call) -> Any:
    """Elements only change places: do the same with their ids, or with the positions of a parameter.

    What a parameter used by itself (a class token, say) is joined with makes units of its positions.
    """
    labels = call.labels
    if not labels:
        return None
    if any(isinstance(label, HeadLabel) for label in labels):
        if any(isinstance(label, Label) for label in labels):
            raise call.refusal("it joins nodes with a head's output")
        return HEAD
    parameter = labels[0]
    if isinstance(parameter, ParameterLabel) and len(call.operands()) == 1:
        return _each(_moved(call, lambda label, value: parameter.positions), lambda part: replace(parameter, view=part))
    moved = _moved(call, lambda label, value: call.lifted(label, value).expand(value.shape))
    sources = frozenset(source for label in labels if isinstance(label, Label) for source in label.sources)
    mixed = any(isinstance(label, ParameterLabel) for label in labels)
    scores = any(isinstance(label, Label) and label.scores for label in labels)

    def labelled(part: Tensor) -> Label:
        made = call.labelled(part)
        return replace(made, sources=made.sources if mixed or not sources else sources, scores=scores)

    return _each(moved, labelled)


def no_nodes(call: Call) -> AnyLabel:
    """Numbers that have nothing to do with the input but its shape."""
    return None


def item(call: Call) -> Any:
    """A part of a tensor, or one of several results."""
    several = isinstance(call.args[0], list | tuple) and call.label_args[0] is not None
    if not several:
        return indexes(call) if isinstance(call.args[0], Tensor) else moves(call)
    label = call.label_args[0][call.args[1]]
    return call.labelled(label.ids) if isinstance(label, Label) and not label.sources else label


def indexes(call: Call) -> Any:
    """Elements chosen by numbers, or by tensors of positions.

    Where the positions come from the model's input any of them may be chosen, and all along that dimension is one node.
    """
    label = call.label
    if not isinstance(label, Label | ParameterLabel):
        return label
    if any(other is not None for other in labels_in(call.label_args[1:]) + labels_in(call.label_kwargs)):
        raise call.refusal("it chooses by what nodes say")
    value: Tensor = call.args[0] if call.args else next(iter(call.kwargs.values()))
    chosen = _chosen_by_input(call, value)
    if isinstance(label, ParameterLabel) and not chosen:
        return _each(_indexed(call, label.positions), lambda part: replace(label, view=part))
    ids = call.ledger.units.merge(call.lifted(label, value), chosen)
    made = call.labelled(_indexed(call, ids.expand(value.shape).contiguous()))
    if isinstance(label, ParameterLabel):
        return made
    return replace(made, sources=label.sources or made.sources, scores=label.scores)


def resizes(call: Call) -> AnyLabel:
    """Pooling and interpolation: positions change, channels do not."""
    label = call.units
    if not isinstance(label, Label):
        return label
    kept = isinstance(call.value, Tensor) and call.value.shape[:2] == call.args[0].shape[:2]
    if not kept or any(size != 1 for size in label.ids.shape[2:]):
        raise call.refusal("it mixes positions that hold different nodes")
    return label


def pads(call: Call) -> AnyLabel:
    """Positions around others; where nodes differ along a padded dimension, new positions of zeros hold none.

    A constant that is not zero stands beside nodes that are, and so their activation is read behind it.
    """
    label = call.units
    if not isinstance(label, Label):
        return label
    if isinstance(call.operation, nn.Module):
        mode = next(mode for kind, mode in _PADDINGS.items() if isinstance(call.operation, kind))
        sizes = tuple(call.argument("padding", 1))
    else:
        mode, sizes = call.argument("mode", 2) or "constant", tuple(call.argument("pad", 1))
    constant = call.argument("value", 3) or 0
    ids = call.lifted(label, call.args[0])
    if any(ids.shape[ids.ndim - 1 - i // 2] > 1 for i, size in enumerate(sizes) if size):
        whole = ids.expand(call.args[0].shape)
        constant_id = F.pad(whole, sizes, value=NO_UNIT) if mode == "constant" else None
        ids = F.pad(whole.double(), sizes, mode).long() if constant_id is None else constant_id  # torch mirrors floats
    constant_border = mode == "constant" and constant != 0
    made = call.labelled(ids)
    sources = made.sources if constant_border else label.sources or made.sources
    return replace(made, sources=sources, scores=label.scores)


def _moved(call: Call, ids_of: Callable[[AnyLabel, Tensor], Tensor]) -> Any:
    """The operation on ids in the place of tensors."""

    def ids(value: Any, label: Any) -> Any:
        if isinstance(value, Tensor):
            return ids_of(label, value).contiguous()
        if isinstance(value, Mapping):
            return {key: ids(member, label[key]) for key, member in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(ids(member, other) for member, other in zip(value, label, strict=True))
        return value

    args, kwargs = ids(call.args, tuple(call.label_args)), ids(call.kwargs, call.label_kwargs)
    if call.node.op == "call_method":
        return getattr(args[0], str(call.node.target))(*args[1:], **kwargs)
    return call.operation(*args, **kwargs)


def _indexed(call: Call, ids: Tensor) -> Tensor:
    if call.node.op == "call_method":
        return getattr(ids, str(call.node.target))(*call.args[1:], **call.kwargs)  # type: ignore[no-any-return]
    return call.operation(ids, *call.args[1:], **call.kwargs)  # type: ignore[no-any-return]


def _chosen_by_input(call: Call, value: Tensor) -> list[int]:
    """Dimensions along which the operation chooses by positions that come from the model's input."""
    if all(node in call.fixed for node in call.node.all_input_nodes[1:]):
        return []
    if call.name in ("gather", "index_select"):
        return [call.argument("dim", 1) % value.ndim]
    keys = call.args[1] if isinstance(call.args[1], list | tuple) else [call.args[1]]
    wanted = sum(key.ndim if _is_mask(key) else 1 for key in keys if key is not Ellipsis and key is not None)
    dims: list[int] = []
    dim = 0
    for key in keys:
        if key is Ellipsis:
            dim += value.ndim - wanted
        elif isinstance(key, Tensor):
            width = key.ndim if _is_mask(key) else 1
            dims += range(dim, dim + width)
            dim += width
        elif key is not None or isinstance(call.operation, OpOverload):  # to ATen None is a whole dimension
            dim += 1
    return dims


def _is_mask(key: Any) -> bool:
    return isinstance(key, Tensor) and key.dtype in (torch.bool, torch.uint8)


def _each(moved: Any, label: Callable[[Tensor], AnyLabel]) -> Any:
    return label(moved) if isinstance(moved, Tensor) else tuple(map(label, moved))


_PADDINGS: dict[type[nn.Module], str] = {
    padding._ConstantPadNd: "constant",
    padding._ReflectionPadNd: "reflect",
    padding._ReplicationPadNd: "replicate",
    padding._CircularPadNd: "circular",
}

MODULES: dict[type[nn.Module], Rule] = {
    **dict.fromkeys([nn.Flatten, nn.Unflatten, nn.ChannelShuffle, nn.PixelShuffle, nn.PixelUnshuffle], moves),
    **dict.fromkeys(
        [
            nn.Upsample, pooling._MaxPoolNd, pooling._AvgPoolNd, pooling._LPPoolNd, pooling._AdaptiveMaxPoolNd,
            pooling._AdaptiveAvgPoolNd,
        ],
        resizes,
    ),
    **dict.fromkeys(_PADDINGS, pads),
}  # fmt: skip

NAMES: dict[Rule, str] = {
    moves: "flatten unflatten view reshape permute transpose swapaxes swapdims movedim moveaxis squeeze unsqueeze cat"
    " concat stack chunk split tensor_split unbind expand narrow select roll flip channel_shuffle repeat tile"
    " repeat_interleave t ravel rot90 fliplr flipud expand_as view_as reshape_as pixel_shuffle pixel_unshuffle"
    " diagonal slice alias split_with_sizes unsafe_split unsafe_chunk _unsafe_view numpy_T matrix_H mT adjoint"
    " slice_scatter select_scatter",
    no_nodes: "zero zeros_like ones_like full_like empty_like rand_like randn_like new_zeros new_ones new_full"
    " new_empty",
    indexes: "index index_select gather",
    pads: "pad constant_pad_nd",
    resizes: "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d"
    " adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d adaptive_avg_pool1d adaptive_avg_pool2d"
    " adaptive_avg_pool3d interpolate upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d"
    " upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa",
}

OPERATORS: dict[Any, Rule] = {operator.getitem: item}
