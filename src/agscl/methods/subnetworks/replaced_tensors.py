"""Lets modules compute with other tensors than their own, made anew at every forward."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from torch import Tensor, nn

from agscl.methods.method import Network

Make = Callable[[str, nn.Module, Tensor], Tensor]
"""Maps a parameter's or buffer's name, its module, and its own value to the tensor to compute with."""


def replace_tensors_in_forward(model: nn.Module, names: Iterable[str], make: Make) -> None:
    """Put other tensors in the place of a model's own while its modules compute, from now on.

    Autograd follows the replacement, so its ingredients get their gradients; names, parameters and state dict of the
    model stay as they are. A deep copy of the model is independent: its hooks are copied with it.

    Args:
        model: The model.
        names: Parameters and buffers to replace.
        make: Makes the replacements.

    >>> import torch
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> replace_tensors_in_forward(layer, ["weight"], lambda name, module, own: torch.tensor([[3.0, 4.0]]))
    >>> layer(torch.ones(1, 2))
    tensor([[7.]])
    """
    owned: dict[str, list[str]] = defaultdict(list)
    for name in names:
        owned[name.rpartition(".")[0]].append(name)
    for path, members in owned.items():
        module, own = model.get_submodule(path), dict[str, Tensor]()
        # Partial functions, unlike closures, are deep-copied and pickled with what they hold.
        module.register_forward_pre_hook(partial(_put, members, make, own))
        module.register_forward_hook(partial(_take_back, own), always_call=True)


def require_no_ignored(network: Network) -> None:
    """Refuse a network with ignored modules to a method that replaces tensors.

    What such a module does is not known; it may read its parts' tensors past their forward, as torch's transformer
    layers do in eval mode, and so not get the replacement.

    Raises:
        ValueError: If there are any.
    """
    if network.graph.ignored:
        raise ValueError(
            f"this method gives each task tensors of its own, and the ignored {network.graph.ignored[0]!r} may be read "
            "past them; leave ignore= out, or use AGS-CL or HAT"
        )


def has_replaced_tensors(model: nn.Module) -> bool:
    """Whether something in a model computes with other tensors than its own.

    >>> layer = nn.Linear(2, 1)
    >>> replace_tensors_in_forward(layer, ["weight"], lambda name, module, own: -own)
    >>> has_replaced_tensors(nn.Sequential(layer)), has_replaced_tensors(nn.Linear(2, 1))
    (True, False)
    """
    hooks = (hook for module in model.modules() for hook in module._forward_pre_hooks.values())
    return any(isinstance(hook, partial) and hook.func is _put for hook in hooks)


def _put(names: list[str], make: Make, own: dict[str, Tensor], module: nn.Module, args: Any) -> None:
    if getattr(module, "_is_replica", False):
        raise ValueError(
            "nn.DataParallel cannot replicate a model whose weights are masked, gated or kept by task: "
            "call the model on one device, or with DistributedDataParallel"
        )
    for name in names:
        local = name.rpartition(".")[2]
        own[local] = _tensors(module, local)[local]
    for name, (local, tensor) in zip(names, own.items(), strict=True):
        _tensors(module, local)[local] = make(name, module, tensor)


def _take_back(own: dict[str, Tensor], module: nn.Module, args: Any, output: Any) -> None:
    for local, tensor in own.items():
        _tensors(module, local)[local] = tensor
    own.clear()


def _tensors(module: nn.Module, local: str) -> dict[str, Any]:
    return module._parameters if local in module._parameters else module._buffers
