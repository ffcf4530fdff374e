"""What linear and convolutional layers see of a task: their inputs' second moments, for methods that project."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agscl.methods.method import Learned, Network
from agscl.processes import count, sum_with_counts

CHUNK = 64
"""Samples that the model is called with at once."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def is_projectable(module: nn.Module, local: str) -> bool:
    """Whether a parameter is the weight that a layer multiplies its inputs or patches with.

    >>> is_projectable(nn.Linear(2, 3), "weight"), is_projectable(nn.Embedding(2, 3), "weight")
    (True, False)
    """
    return local == "weight" and isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)


def input_covariances(network: Network, learned: Learned, groups: Mapping[str, int], samples: int) -> dict[str, Tensor]:
    """Sums of the outer products of what each layer sees, :math:`R R^T`, over samples spread evenly over the data.

    Args:
        network: The network, in eval mode.
        learned: The task with its data.
        groups: Names of the weights, and how many groups their layers' inputs fall into.
        samples: About how many samples are used: at least so many and less than twice as many, or all there are.

    Returns:
        By name, float64, shape ``(groups, inputs, inputs)``.

    Raises:
        ValueError: If there is no data, a layer sees none of it, or it is not finite.
    """
    spread = _Spread(math.ceil(samples / count()))
    handle = network.model.register_forward_pre_hook(spread.take, with_kwargs=True)
    try:
        for batch in learned.batches:
            learned.predict(batch)
    finally:
        handle.remove()
    sums, called = _sums(network, groups, spread)
    sums, seen = sum_with_counts(sums, spread.seen)
    if seen == 0:
        raise ValueError("no data to make bases from: the batches are empty or never reach the model")
    if spread.seen and (missing := groups.keys() - called):
        raise ValueError(
            f"no input of {min(missing)!r} was seen: the forward does not call its module; call it instead of using "
            "its weight, or freeze the weight with requires_grad_(False)"
        )
    if odd := [name for name, total in sums.items() if not total.isfinite().all()]:
        raise ValueError(f"the inputs of {odd[0]!r} are not finite: the task has diverged")
    return sums


class _Spread:
    """Samples spread evenly over all that a model is called with: every so many-th, fewer as there are more."""

    def __init__(self, samples: int) -> None:
        self._most, self._stride = 2 * samples, 1
        self._kept: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.seen = 0

    def take(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Look at a batch: the arguments of a call of the model, of which the first tensor says how many samples."""
        size = next(len(value) for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        for row in range(size):
            if (self.seen + row) % self._stride == 0:
                one = partial(_row, row=row, size=size)
                self._kept.append((tuple(map(one, args)), {name: one(value) for name, value in kwargs.items()}))
            if len(self._kept) == self._most:
                self._kept, self._stride = self._kept[::2], 2 * self._stride
        self.seen += size

    def batches(self) -> Iterator[tuple[list[Any], dict[str, Any]]]:
        """The samples kept, as arguments of calls of the model."""
        for start in range(0, len(self._kept), CHUNK):
            rows = self._kept[start : start + CHUNK]
            args = [_joined(values) for values in zip(*(row[0] for row in rows), strict=True)]
            yield args, {name: _joined([row[1][name] for row in rows]) for name in rows[0][1]}


def _row(value: Any, row: int, size: int) -> Any:
    return value[row : row + 1].clone() if isinstance(value, Tensor) and value.ndim and len(value) == size else value


def _joined(values: Sequence[Any]) -> Any:
    return torch.cat(list(values)) if isinstance(values[0], Tensor) and values[0].ndim else values[0]


def _sums(network: Network, groups: Mapping[str, int], spread: _Spread) -> tuple[dict[str, Tensor], set[str]]:
    """What the layers see of the samples kept, and which are called at all."""
    sums, called = {}, set[str]()
    for name, number in groups.items():
        weight = network.parameters[name].detach()
        sums[name] = torch.zeros(
            number, weight[0].numel(), weight[0].numel(), dtype=torch.float64, device=weight.device
        )

    def see(name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        called.add(name)
        rows = seen_rows(module, args[0], groups[name]).double()
        sums[name] += rows.mT @ rows

    modules = {name: network.model.get_submodule(name.rpartition(".")[0]) for name in groups}
    handles = [module.register_forward_pre_hook(partial(see, name)) for name, module in modules.items()]
    try:
        for args, kwargs in spread.batches():
            network.model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return sums, called


def seen_rows(module: nn.Module, x: Tensor, groups: int = 1) -> Tensor:
    """What a layer multiplies its weight with, as rows: inputs of a linear layer, patches of a convolution.

    Args:
        module: The layer.
        x: A batch of its inputs.
        groups: Into how many groups the layer's inputs fall.

    Returns:
        Shape ``(groups, rows, inputs of a group)``.

    >>> seen_rows(nn.Conv1d(1, 1, 2), torch.tensor([[[1.0, 2.0, 3.0]]]))
    tensor([[[1., 2.],
             [2., 3.]]])
    """
    if not isinstance(module, CONVOLUTIONS):
        return x.reshape(1, -1, x.shape[-1])
    dims = len(module.kernel_size)
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    x = F.pad(x, module._reversed_padding_repeated_twice, mode=mode)
    for dim in range(dims):
        size, dilation = module.kernel_size[dim], module.dilation[dim]
        windows = x.unfold(2 + dim, (size - 1) * dilation + 1, module.stride[dim])
        x = windows[..., ::dilation]
    grouped = x.unflatten(1, (groups, -1))  # samples, groups, channels, positions..., offsets...
    positions = range(3, 3 + dims)
    offsets = range(3 + dims, 3 + 2 * dims)
    ordered = grouped.permute(1, 0, *positions, 2, *offsets)
    rows: Tensor = ordered.reshape(groups, -1, module.weight[0].numel())
    return rows
