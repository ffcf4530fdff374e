"""Random orders and splits of a benchmark, each from its own stream of one seed.

Separate streams mean that, say, another validation share leaves the class order as it was.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .options import LoadOptions


def stream(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator that depends on the seed and the purpose, such as ``"class order"``, and on nothing else."""
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def order(count: int, seed: int, purpose: str) -> list[int]:
    """A random order of ``0 .. count - 1``, see `stream`."""
    return torch.randperm(count, generator=stream(seed, purpose)).tolist()


def partition(classes: Sequence[int], num_tasks: int) -> list[list[int]]:
    """Split a list of classes into ``num_tasks`` groups of equal size, in the order given.

    Raises:
        ValueError: If the classes cannot be shared out equally.

    Example:
        >>> partition([3, 1, 0, 2], num_tasks=2)
        [[3, 1], [0, 2]]
    """
    if num_tasks < 1 or len(classes) % num_tasks:
        raise ValueError(f"{len(classes)} classes cannot be cut into {num_tasks} tasks of equal size")
    size = len(classes) // num_tasks
    return [list(classes[start : start + size]) for start in range(0, len(classes), size)]


def hold_out(labels: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Set a share of every class aside, at random.

    Args:
        labels: Class of each example, shape ``(N,)``.
        share: Share of each class to set aside, rounded, but at least one example of a class that has two
            (0 sets none aside).
        generator: Source of randomness.

    Returns:
        Positions that stay and positions set aside, both ascending; disjoint, together all.

    Example:
        >>> labels = torch.tensor([0] * 10 + [1] * 10)
        >>> kept, aside = hold_out(labels, 0.2, torch.Generator().manual_seed(0))
        >>> labels[aside].tolist()
        [0, 0, 1, 1]
    """
    if not 0 <= share < 1:
        raise ValueError(f"a share set aside must be in [0, 1), got {share}")
    aside = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels).tolist():
        members = (labels == label).nonzero().flatten()
        count = min(max(round(share * len(members)), 1), len(members) - 1) if share else 0
        aside[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    return (~aside).nonzero().flatten(), aside.nonzero().flatten()


def thin(labels: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    """Positions of a random ``fraction`` of every class, at least one each, ascending.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 0, 1, 1])
        >>> labels[thin(labels, 0.5, torch.Generator().manual_seed(0))].tolist()
        [0, 0, 1]
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"the fraction of examples to use must be in (0, 1], got {fraction}")
    if fraction == 1:
        return torch.arange(len(labels))
    kept = [
        members[torch.randperm(len(members), generator=generator)[: math.ceil(fraction * len(members))]]
        for members in ((labels == label).nonzero().flatten() for label in torch.unique(labels))
    ]
    return torch.cat(kept).sort().values if kept else torch.arange(0)


def drawn_test(labels: Tensor, is_validation: Tensor | None, share: float, seed: int) -> Tensor:
    """Marks of a drawn share of every class, among the examples that are not for validation; shape ``(N,)``."""
    rest = torch.arange(len(labels)) if is_validation is None else (~is_validation).nonzero().flatten()
    _, test = hold_out(labels[rest], share, stream(seed, "test split"))
    marks = torch.zeros(len(labels), dtype=torch.bool)
    marks[rest[test]] = True
    return marks


def split_rows(
    labels: Tensor, is_test: Tensor, is_validation: Tensor | None, seed: int, options: LoadOptions
) -> tuple[Tensor, Tensor, Tensor]:
    """Row numbers of the training, validation and test examples, each ascending.

    Tests are those marked; validation examples too if any are marked, or else a share of each class of the rest is
    drawn. All but the tests are thinned to ``options.fraction``.
    """
    rest, test = (~is_test).nonzero().flatten(), is_test.nonzero().flatten()
    if is_validation is not None and is_validation.any():
        kept, aside = (~is_validation[rest]).nonzero().flatten(), is_validation[rest].nonzero().flatten()
    else:
        kept, aside = hold_out(labels[rest], options.validation, stream(seed, "validation split"))
    train, validation = (
        rows[thin(labels[rows], options.fraction, stream(seed, "fraction"))] for rows in (rest[kept], rest[aside])
    )
    return train, validation, test


def pixel_orders(count: int, pixels: int, seed: int) -> list[Tensor]:
    """The natural order of the pixels and ``count - 1`` random ones.

    Example:
        >>> pixel_orders(2, pixels=4, seed=0)[0].tolist()
        [0, 1, 2, 3]
    """
    drawn = [torch.randperm(pixels, generator=stream(seed, f"pixel order {number}")) for number in range(1, count)]
    return [torch.arange(pixels), *drawn]


def in_batches(
    count: int, batch_size: int, generator: torch.Generator | None, device: torch.device | None = None
) -> Sequence[Tensor]:
    """Positions of examples, batch by batch, shuffled by ``generator`` when it is given; the last may be smaller.

    The order is drawn on the CPU, the same on every device, and goes to the device as a whole.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
    return torch.split(order.to(device), batch_size) if count else ()
