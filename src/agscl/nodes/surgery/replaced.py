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
        for put, back in zip(
            _of(module._forward_pre_hooks, _put).values(), _of(module._forward_hooks, _take_back).values(), strict=True
        )
    ]
    for module, put, _ in hooks:
        put(module, ())
    try:
        yield
    finally:
        for module, _, back in reversed(hooks):
            back(module, (), None)


@torch.no_grad()
def put_in(model: nn.Module) -> None:
    """Make what is replaced while a model computes its own from now on, and replace nothing any more.

    The model, in eval mode, computes what it computed before, by its own tensors alone.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> replace_tensors_in_forward(layer, ["weight"], lambda name, module, own: torch.tensor([[3.0, 4.0]]), {})
    >>> put_in(layer)
    >>> layer.weight.tolist(), has_replaced_tensors(layer)
    ([[3.0, 4.0]], False)
    """
    made: list[tuple[Tensor, Tensor]] = []
    for module in model.modules():
        for hook in _of(module._forward_pre_hooks, _put).values():
            names, owners, make, _ = hook.args
            for name, path in names:
                owner = _owner(module, owners, name, path)
                own = _tensors(owner, name)[_local(name)]
                made.append((own, make(name, owner, own)))
    for own, tensor in made:
        own.data.copy_(tensor)
    _replace_no_more(model)


def unreplaced(model: nn.Module, without: Iterable[str] = ()) -> nn.Module:
    """A copy of a model that computes with its own tensors as they are.

    Args:
        model: The model.
        without: Names of its own parameters to leave out of the copy, such as gains.
    """
    copied = copy.deepcopy(model)
    for name in without:
        delattr(copied, name)
    _replace_no_more(copied)
    return copied


def _replace_no_more(model: nn.Module) -> None:
    for module in model.modules():
        for hooks, function in ((module._forward_pre_hooks, _put), (module._forward_hooks, _take_back)):
            for key in _of(hooks, function):
                del hooks[key]


def has_replaced_tensors(model: nn.Module) -> bool:
    """Whether something in a model computes with other tensors than its own.

    >>> layer = nn.Linear(2, 1)
    >>> replace_tensors_in_forward(layer, ["weight"], lambda name, module, own: -own, {})
    >>> has_replaced_tensors(nn.Sequential(layer)), has_replaced_tensors(nn.Linear(2, 1))
    (True, False)
    """
    return any(_of(module._forward_pre_hooks, _put) for module in model.modules())


def _of(hooks: Mapping[int, Any], function: Callable[..., None]) -> dict[int, Any]:
    return {key: hook for key, hook in hooks.items() if isinstance(hook, partial) and hook.func is function}


Owners = dict[str, nn.Module]


def _owner(module: nn.Module, owners: Owners, name: str, path: str) -> nn.Module:
    """The module that holds a tensor, as a module that computes with it knows it."""
    return owners.get(name) or module.get_submodule(path.rpartition(".")[0])


def _put(
    names: list[tuple[str, str]], owners: Owners, make: Make, own: dict[str, Tensor], module: nn.Module, args: Any
) -> None:
    if getattr(module, "_is_replica", False):
        raise ValueError(
            "nn.DataParallel cannot replicate a model whose weights are masked, gated or kept by task: "
            "call the model on one device, or with DistributedDataParallel"
        )
    for name, path in names:
        owner = _owner(module, owners, name, path)
        own[name] = _tensors(owner, name)[_local(name)]
    for name, path in names:
        owner = _owner(module, owners, name, path)
        _set(owner, name, make(name, owner, own[name]))


def _take_back(
    paths: dict[str, str], owners: Owners, own: dict[str, Tensor], module: nn.Module, args: Any, output: Any
) -> None:
    for name, tensor in own.items():
        _set(_owner(module, owners, name, paths[name]), name, tensor)
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
