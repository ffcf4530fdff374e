"""A forward of one's own for a module, within a context, that copies and replicas of the module take along rightly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

from torch import nn

Compute = Callable[[nn.Module, Callable[..., Any], Any, Any], Any]
"""Maps a module, its plain forward, and the arguments of a call to the output."""


class InnerForward:
    """What stands in the place of a module's forward.

    A class and not a closure: it is deep-copied and pickled with what it holds, so the copy of a module computes with
    tensors of its own.

    Attributes:
        compute: What computes.
        held: Whether it computes; afterwards it is the plain forward, should somebody have kept it.
        keeps_nodes: Tells a trace that the module's nodes are those of its plain forward.
    """

    keeps_nodes = True

    def __init__(self, module: nn.Module, compute: Compute) -> None:
        self._module, self.compute, self._plain = module, compute, module.forward
        self.held = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute in the place of the plain forward."""
        return self.compute(self._module, self._plain, args, kwargs) if self.held else self._plain(*args, **kwargs)

    def replica(self) -> nn.Module:
        """A replica of the module for `nn.DataParallel`, which copies attributes and so would keep this module's."""
        replica: nn.Module = type(self._module)._replicate_for_data_parallel(self._module)
        vars(replica).pop("_replicate_for_data_parallel")
        replica.forward = MethodType(type(replica).forward, replica)
        replica.forward = InnerForward(replica, self.compute)
        return replica


@contextmanager
def computing_with(module: nn.Module, compute: Compute) -> Iterator[None]:
    """Let a module compute so within the context; a forward that the user has set on it is back afterwards.

    >>> import copy, torch
    >>> layer = nn.Identity()
    >>> with computing_with(layer, lambda module, plain, args, kwargs: 2 * plain(*args)):
    ...     layer(torch.ones(1)), copy.deepcopy(layer)(torch.ones(1))
    (tensor([2.]), tensor([2.]))
    >>> layer(torch.ones(1))
    tensor([1.])
    """
    before = vars(module).get("forward")
    inner = InnerForward(module, compute)
    vars(module).update(forward=inner, _replicate_for_data_parallel=inner.replica)
    try:
        yield
    finally:
        inner.held = False
        vars(module).pop("_replicate_for_data_parallel", None)
        if vars(module).get("forward") is inner:  # else the user has put another around it, which goes on
            vars(module).pop("forward")
            if before is not None:
                vars(module)["forward"] = before
