"""Lets modules compute with other tensors than their own, made anew at every forward."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from agscl.methods.method import Network

Make = Callable[[str, nn.Module, Tensor], Tensor]
"""Maps a parameter's or buffer's name, its module, and its own value to the tensor to compute with."""


def replace_tensors_in_forward(
    model: nn.Module, names: Iterable[str], make: Make, users: Mapping[str, tuple[str, ...]]
) -> None:
    """Put other tensors in the place of a model's own while its modules compute, from now on.

    Autograd follows the replacement, so its ingredients get their gradients; names, parameters and state dict of the
    model stay as they are. A deep copy of the model is independent: its hooks are copied with it.

    Args:
        model: The model.
        names: Parameters and buffers to replace.
        make: Makes the replacements.
        users: By name, the modules that compute with a tensor, where it is not its owner: `NodeGraph.users`. The output
            projection of torch's own attention is read by the attention, and never called itself.

    >>> import torch
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> replace_tensors_in_forward(layer, ["weight"], lambda name, module, own: torch.tensor([[3.0, 4.0]]), {})
    >>> layer(torch.ones(1, 2))
    tensor([[7.]])
    """
    used: dict[str, list[str]] = defaultdict(list)
    for name in names:
        for path in users.get(name, (name.rpartition(".")[0],)):
            used[path].append(name)
    for path, members in used.items():
        module, own, prefix = model.get_submodule(path), dict[str, Tensor](), f"{path}." if path else ""
        within = [(name, name.removeprefix(prefix)) for name in members]
        # What lies below the module is looked up there, so that a copy of it finds its own.
        above = [name for name in members if not name.startswith(prefix)]
        owners = {name: model.get_submodule(name.rpartition(".")[0]) for name in above}
        # Partial functions, unlike closures, are deep-copied and pickled with what they hold.
        module.register_forward_pre_hook(partial(_put, within, owners, make, own))
        module.register_forward_hook(partial(_take_back, dict(within), owners, own), always_call=True)


@contextmanager
def replaced_tensors(model: nn.Module) -> Iterator[None]:
    """All that is replaced while modules compute is replaced within the context, for what reads the model's tensors."""
    hooks = [
        (module, put, back)
        for module in model.modules()
        for put, back in zip(_of(module._forward_pre_hooks, _put), _of(module._forward_hooks, _take_back), strict=True)
    ]
    for module, put, _ in hooks:
        put(module, ())
    try:
        yield
    finally:
        for module, _, back in reversed(hooks):
            back(module, (), None)


@torch.no_grad()
def folded(model: nn.Module, without: Iterable[str] = ()) -> nn.Module:
    """A copy of a model whose own tensors are what it computes with now, so that nothing is replaced any more.

    Args:
        model: The model.
        without: Names of its own parameters to leave out of the copy, such as gains, which are in the weights now.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> replace_tensors_in_forward(layer, ["weight"], lambda name, module, own: torch.tensor([[3.0, 4.0]]), {})
    >>> folded(layer).weight, has_replaced_tensors(folded(layer))
    (Parameter containing:
    tensor([[3., 4.]], requires_grad=True), False)
    """
    copied, made = copy.deepcopy(model), dict[str, tuple[Tensor, Tensor]]()
    for module in copied.modules():
        for hook in _of(module._forward_pre_hooks, _put):
            names, owners, make, _ = hook.args
            for name, path in names:
                owner = owners.get(name) or module.get_submodule(path.rpartition(".")[0])
                own = _tensors(owner, name)[_local(name)]
                made[name] = own, make(name, owner, own)
    for own, tensor in made.values():
        own.copy_(tensor)
    return _without_replacement(copied, without)


def unreplaced(model: nn.Module, without: Iterable[str] = ()) -> nn.Module:
    """A copy of a model that computes with its own tensors as they are; arguments as of `folded`."""
    return _without_replacement(copy.deepcopy(model), without)


def _without_replacement(model: nn.Module, without: Iterable[str]) -> nn.Module:
    for name in without:
        delattr(model, name)
    for module in model.modules():
        _remove(module._forward_pre_hooks, _put)
        _remove(module._forward_hooks, _take_back)
    return model


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
    >>> replace_tensors_in_forward(layer, ["weight"], lambda name, module, own: -own, {})
    >>> has_replaced_tensors(nn.Sequential(layer)), has_replaced_tensors(nn.Linear(2, 1))
    (True, False)
    """
    hooks = (hook for module in model.modules() for hook in module._forward_pre_hooks.values())
    return any(isinstance(hook, partial) and hook.func is _put for hook in hooks)


def _of(hooks: Mapping[int, Any], function: Callable[..., None]) -> list[Any]:
    return [hook for hook in hooks.values() if isinstance(hook, partial) and hook.func is function]


def _remove(hooks: dict[int, Any], function: Callable[..., None]) -> None:
    ours = _of(hooks, function)
    for number in [number for number, hook in hooks.items() if hook in ours]:
        del hooks[number]


Owners = dict[str, nn.Module]


def _put(
    names: list[tuple[str, str]], owners: Owners, make: Make, own: dict[str, Tensor], module: nn.Module, args: Any
) -> None:
    if getattr(module, "_is_replica", False):
        raise ValueError(
            "nn.DataParallel cannot replicate a model whose weights are masked, gated or kept by task: "
            "call the model on one device, or with DistributedDataParallel"
        )
    for name, path in names:
        owner = owners.get(name) or module.get_submodule(path.rpartition(".")[0])
        own[name] = _tensors(owner, name)[_local(name)]
    for name, path in names:
        owner = owners.get(name) or module.get_submodule(path.rpartition(".")[0])
        _set(owner, name, make(name, owner, own[name]))


def _take_back(
    paths: dict[str, str], owners: Owners, own: dict[str, Tensor], module: nn.Module, args: Any, output: Any
) -> None:
    for name, tensor in own.items():
        _set(owners.get(name) or module.get_submodule(paths[name].rpartition(".")[0]), name, tensor)
    own.clear()


def _set(owner: nn.Module, name: str, tensor: Tensor) -> None:
    local = _local(name)
    _tensors(owner, name)[local] = tensor
    if isinstance(owner, nn.RNNBase):  # it computes with a list of its own
        owner._flat_weights[owner._flat_weights_names.index(local)] = tensor


def _tensors(owner: nn.Module, name: str) -> dict[str, Any]:
    return owner._parameters if _local(name) in owner._parameters else owner._buffers


def _local(name: str) -> str:
    return name.rpartition(".")[2]
