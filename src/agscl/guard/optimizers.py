"""The optimizers that a loop steps, taken out of whatever other libraries have wrapped around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from agscl.methods.method import Network


@dataclass(frozen=True)
class Unwrapped:
    """Optimizers and what is wrapped around them.

    Attributes:
        optimizers: Those that move parameters by themselves, in the order given.
        wrappers: Optimizers whose step calls, at some time, the step of one of these: SAM, Lookahead and the like.
    """

    optimizers: tuple[Optimizer, ...]
    wrappers: tuple[Optimizer, ...]


def unwrap(given: Any) -> Unwrapped:
    """The optimizers in what a user has handed over: one, several, or wrapped ones of any library.

    What looks like an optimizer (``param_groups`` and ``step``) and holds others in its attributes is a wrapper, unless
    it has parameters that none of them has: then it is guarded itself, as is `ZeroRedundancyOptimizer`.

    Args:
        given: An optimizer or a collection of them.

    Raises:
        ValueError: If something in it is no optimizer, or two of them hold the same parameter.

    >>> import torch
    >>> inner = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    >>> outer = torch.optim.Adam(inner.param_groups[0]["params"])
    >>> outer.base = inner
    >>> found = unwrap([outer])
    >>> found.optimizers == (inner,), found.wrappers == (outer,)
    (True, True)
    """
    leaves: dict[int, Optimizer] = {}
    wrappers: dict[int, Optimizer] = {}
    members = [given] if _looks_like_one(given) or not isinstance(given, Iterable) else [*given]
    if not members:
        raise ValueError("attach needs at least one optimizer")
    for member in members:
        if not _looks_like_one(member):
            raise ValueError(f"attach needs an optimizer, or a list of them; {_kind(member)} is none")
        _collect(member, leaves, wrappers)
    holder: dict[int, Optimizer] = {}
    for optimizer in leaves.values():
        for parameter in parameters_of(optimizer):
            if holder.setdefault(id(parameter), optimizer) is not optimizer:
                raise ValueError(
                    f"two of the optimizers ({_kind(holder[id(parameter)])} and {_kind(optimizer)}) hold the same "
                    f"parameter of shape {tuple(parameter.shape)}; give each parameter to one of them"
                )
    return Unwrapped(tuple(leaves.values()), tuple(wrappers.values()))


def parameters_of(optimizer: Optimizer) -> Iterator[nn.Parameter]:
    """All parameters that an optimizer holds now, those of groups that were added lately included."""
    for group in optimizer.param_groups:
        yield from group["params"]


def require_held(network: Network, optimizers: Iterable[Optimizer]) -> None:
    """Refuse optimizers without a trained parameter that comes into nodes.

    Raises:
        ValueError: If there is one; the message names it.
    """
    held = {id(parameter) for optimizer in optimizers for parameter in parameters_of(optimizer)}
    for name in [piece.parameter for layer in network.graph.layers for piece in layer.incoming]:
        if network.parameters[name].requires_grad and id(network.parameters[name]) not in held:
            raise ValueError(
                f"the optimizer does not hold {name!r}; give it model.parameters(), attach all optimizers "
                "(attach([one, other], ...)), or take the parameter out of training with requires_grad_(False)"
            )


def has_hooks(optimizer: Optimizer) -> bool:
    """Whether the optimizer's step calls hooks; some wrappers leave out ``super().__init__()``."""
    return hasattr(optimizer, "_optimizer_step_pre_hooks") and hasattr(type(optimizer).step, "hooked")


def _collect(found: Any, leaves: dict[int, Optimizer], wrappers: dict[int, Optimizer]) -> set[int]:
    """Sort an optimizer and those that it holds into the two; the ids of the parameters of all of them."""
    if id(found) in leaves or id(found) in wrappers:
        return {id(parameter) for parameter in parameters_of(found)}
    wrappers[id(found)] = found  # for now, so that a circle of references ends here
    others = set(leaves)
    inner = [member for value in vars(found).values() for member in _members(value) if member is not found]
    held: set[int] = set()
    for member in inner:
        held |= _collect(member, leaves, wrappers)
    own = {id(parameter) for parameter in parameters_of(found)}
    if not inner or own - held:
        del wrappers[id(found)]
        for key in leaves.keys() - others:
            if {id(parameter) for parameter in parameters_of(leaves[key])} <= own:
                del leaves[key]  # it steps a part of the parameters within this one's step
        if not has_hooks(found):
            raise ValueError(
                f"{_kind(found)} does not call step hooks, so its steps cannot be guarded; derive it from "
                "torch.optim.Optimizer and call super().__init__()"
            )
        leaves[id(found)] = found
    return own | held


def _members(value: Any) -> list[Any]:
    """Optimizers in a value: itself, or those in a list, tuple, set or dict."""
    if _looks_like_one(value):
        return [value]
    if isinstance(value, dict):
        value = [*value.values()]
    return [m for m in value if _looks_like_one(m)] if isinstance(value, list | tuple | set) else []


def _looks_like_one(value: Any) -> bool:
    return not isinstance(value, type) and callable(getattr(value, "step", None)) and hasattr(value, "param_groups")


def _kind(value: Any) -> str:
    return type(value).__name__
