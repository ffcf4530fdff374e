"""Many processes that train one model (`torch.distributed`): what they sum, draw and know is the same in each.

Every function does nothing in a single process. In many, all processes must call the same functions in the same order.
Before tensors are exchanged the processes meet and tell each other where they are and whether one has failed: so either
all go on or all stop, and none waits for one that is gone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor

Fact = Tensor | int | str
"""What can be compared between processes."""

ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""Where an object lies in memory, which is of no interest to others."""

DIGEST = "sha256"
"""Tells digests from values where texts stand for either."""


class StoppedTogether(ValueError):  # noqa: N818 - what happened, to all processes alike
    """All processes stop here: one of them has failed, or they do not agree."""


def count() -> int:
    """How many processes train together: those of the default process group, or one without it.

    >>> count()
    1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def are_many() -> bool:
    """Whether this is one of several processes that train together.

    >>> are_many()
    False
    """
    return count() > 1


@contextmanager
def together(where: str) -> Iterator[None]:
    """Leave the block in all processes or in none: an error in one stops all, with its message.

    Blocks must not be nested.

    Args:
        where: What is done here, for a message.

    Raises:
        StoppedTogether: If another process has failed in its block, or is somewhere else.
    """
    if not are_many():
        yield
        return
    try:
        yield
    except StoppedTogether:
        raise
    except Exception as error:
        text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        with suppress(StoppedTogether):
            _meet(where, failure=text or type(error).__name__)
        raise
    _meet(f"the end of {where}")


def sum_with_counts(sums: Mapping[str, Tensor], samples: int) -> tuple[dict[str, Tensor], int]:
    """Sums over the samples of all processes, and how many samples that are.

    A process without a sample gives zeros. The result has the same bits in all processes.

    Args:
        sums: Sums over this process's samples, by name.
        samples: How many it has.

    Raises:
        StoppedTogether: If another process has failed, or has other names, shapes or dtypes.

    >>> sum_with_counts({"fc": torch.tensor([3.0])}, 2)
    ({'fc': tensor([3.])}, 2)
    """
    if not are_many():
        return dict(sums), samples
    counts = _meet_alike("a sum over the samples of all", sums, samples)
    return {name: _reduced(tensor) for name, tensor in sums.items()}, sum(counts)


@torch.no_grad()
def from_first(tensors: Mapping[str, Tensor]) -> None:
    """Give tensors the bits that they have in the first process, in place: what was drawn, say.

    Raises:
        StoppedTogether: If another process has failed, or has other names, shapes or dtypes.
    """
    if not are_many():
        return
    _meet_alike("taking over from the first process", tensors)
    for tensor in tensors.values():
        plain = tensor.detach().clone(memory_format=torch.contiguous_format).flatten()
        dist.broadcast(plain.view(torch.uint8), 0)
        tensor.copy_(plain.view(tensor.shape))


def average(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by their mean over all processes, in place; made for every step: the processes do not meet."""
    if are_many():
        for tensor in tensors:
            tensor.copy_(_reduced(tensor).div_(count()))


def require_same(where: str, facts: Mapping[str, Fact], advice: str) -> None:
    """Refuse to go on if the processes do not hold the same bits.

    Args:
        where: What is about to be done, for a message.
        facts: What must be the same, by name.
        advice: What to do about it, for a message.

    Raises:
        StoppedTogether: If something differs, or another process has failed; the message names what differs.
    """
    for name, values in differences(where, facts).items():
        first, rank = values[0], next(rank for rank, value in enumerate(values) if value != values[0])
        short = DIGEST not in first + values[rank] and "\n" not in first + values[rank]
        told = f" ({first} in process 0, {values[rank]} in process {rank})" if short else ""
        raise StoppedTogether(f"{where}: {name!r} differs between the processes{told}; {advice}")


def differences(where: str, facts: Mapping[str, Fact]) -> dict[str, list[str]]:
    """What is not the same in all processes, by name: its value, digest or "missing" in each process.

    Raises:
        StoppedTogether: If another process has failed, or is somewhere else.
    """
    if not are_many():
        return {}
    rows = _meet(where, {name: _mark(value) for name, value in facts.items()})
    names = dict.fromkeys(name for row in rows for name in row)
    found = {name: [row.get(name, "missing") for row in rows] for name in names}
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def _mark(value: Fact) -> str:
    """A text that tells values apart: the number or text itself, or a digest of a tensor's bits."""
    if not isinstance(value, Tensor):
        return ADDRESS.sub("", str(value))
    value = value.detach().cpu()
    if value.numel() == 1:
        return str(value.item())
    digest = hashlib.sha256(value.flatten().view(torch.uint8).numpy().tobytes()).hexdigest()
    return f"{value.dtype} {tuple(value.shape)} {DIGEST} {digest}"


def _meet_alike(where: str, tensors: Mapping[str, Tensor], brought: Any = None) -> list[Any]:
    """Meet, and go on only if all have tensors of the same names, shapes, dtypes and kinds of device."""
    layout = {name: f"{tuple(t.shape)} {t.dtype} {t.device.type}" for name, t in tensors.items()}
    rows = _meet(where, (layout, brought))
    for rank, (other, _) in enumerate(rows):
        if list(other.items()) != list(rows[0][0].items()):
            odd = next((n for n in (rows[0][0] | other) if rows[0][0].get(n) != other.get(n)), "the order")
            _stop(
                f"{where}: {odd!r} is another tensor in process 0 than in process {rank}; make the same model in each"
            )
    return [row[1] for row in rows]


def _meet(where: str, brought: Any = None, failure: str | None = None) -> list[Any]:
    """Wait for all processes; returns what each has brought."""
    rows: list[Any] = [None] * count()
    try:
        dist.all_gather_object(rows, (where, failure, brought))
    except RuntimeError as error:
        raise StoppedTogether(f"{where}: another process is gone or waits elsewhere; see its own error") from error
    for rank, (_, failed, _) in enumerate(rows):
        if failed is not None:
            _stop(f"process {rank}: {failed}")
    for rank, (place, _, _) in enumerate(rows):
        if place != rows[0][0]:
            _stop(
                f"process 0 is at {rows[0][0]!r} and process {rank} at {place!r}; "
                "call protect, attach and consolidate in every process, in the same order"
            )
    return [row[2] for row in rows]


def _stop(message: str) -> NoReturn:
    raise StoppedTogether(message)


def _reduced(tensor: Tensor) -> Tensor:
    """The sum over all processes."""
    total = tensor.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total
