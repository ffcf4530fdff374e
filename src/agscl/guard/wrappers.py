"""Wrappers around a model: those that leave it whole are looked through, those that take it apart are refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

_SHARDED = {"DTensor", "FullyShardedDataParallel", "FSDPModule"}
"""Classes, by name since importing them takes long, of parameters and modules that hold a part of a tensor."""

_MANAGED = "_is_fsdp_managed_module"
"""What FullyShardedDataParallel leaves on every module whose parameters it has taken."""


def bare(model: nn.Module) -> nn.Module:
    """The model within its wrappers: compiled, distributed data-parallel, data-parallel, however they are nested.

    Raises:
        ValueError: If copies of the model would compute, which no guard sees.

    >>> layer = nn.Linear(1, 1)
    >>> bare(DataParallel(layer)) is layer
    True
    """
    while (inner := _inner(model)) is not None:
        model = inner
    return model


def bare_names(model: nn.Module, names: Iterable[str]) -> tuple[str, ...]:
    """Names of modules as the model within its wrappers has them: ``module.heads`` of a wrapped one is ``heads`` there.

    >>> bare_names(DataParallel(nn.Sequential(nn.Linear(1, 1))), ["module.0", "0"])
    ('0', '0')
    """
    within = bare(model)
    known = {name for name, _ in within.named_modules()}
    prefix = next((name for name, module in model.named_modules() if module is within), "")
    return tuple(name if name in known else name.removeprefix(f"{prefix}.") for name in names)


def _inner(model: nn.Module) -> nn.Module | None:
    if isinstance(model, DataParallel) and len(model.device_ids) > 1:
        raise ValueError(
            "DataParallel on several devices computes with copies of the model that no guard sees; "
            "use DistributedDataParallel, with a process for each device"
        )
    if isinstance(model, DataParallel | DistributedDataParallel):
        within: nn.Module = model.module
        return within
    return getattr(model, "_orig_mod", None)


def require_whole(model: nn.Module) -> None:
    """Refuse a model whose parameters are spread over processes, or of which a part alone is wrapped.

    Importance and masks need whole parameters, and a forward of which all is seen.

    Raises:
        ValueError: If there is one; the message names it.
    """
    for path, part in model.named_modules():
        if path and isinstance(part, DataParallel | DistributedDataParallel):
            raise ValueError(f"{path!r} is a {type(part).__name__} within the model: wrap the whole model instead")
    for path, part in (*model.named_modules(), *model.named_parameters(), *model.named_buffers()):
        if _SHARDED & {base.__name__ for base in type(part).__mro__} or getattr(part, _MANAGED, False):
            raise ValueError(
                f"the parameters of {path or 'the model'!r} are spread over processes (FSDP, fully_shard, DTensor): "
                "a guard needs whole ones in every process; use DistributedDataParallel"
            )


@contextmanager
def computing_bare() -> Iterator[None]:
    """Let every `DistributedDataParallel` compute as the model within it, and exchange nothing.

    Processes may then call it as often as they have batches, be these more or fewer than those of the others.
    """
    plain = DistributedDataParallel.forward

    def forward(self: DistributedDataParallel, *args: Any, **kwargs: Any) -> Any:
        if self.device_ids:
            moved, named = self.to_kwargs(args, kwargs, self.device_ids[0])
            args, kwargs = moved[0], named[0]
        return self.module(*args, **kwargs)

    DistributedDataParallel.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        DistributedDataParallel.forward = plain  # type: ignore[method-assign]
