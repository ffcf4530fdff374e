"""Calls of a model: the tensors that go in, and all else about a call that decides which computation it is."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

_CONSTANTS = (type(None), bool, int, float, complex, str, bytes, range, slice, Enum, torch.dtype, torch.device)


@dataclass(frozen=True)
class Form:
    """What a call is like, its tensors aside: calls of one form can follow one trace.

    Attributes:
        structure: How the arguments are nested, those with a default value included.
        constants: Numbers, strings and the like among the leaves, by place; with their types, as ``1 == True``.
        names: A name for each leaf that is no constant.
    """

    structure: pytree.TreeSpec
    constants: tuple[tuple[int, type, Any], ...]
    names: tuple[str, ...]

    def arguments(self, values: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call of this form, by position and by name, that hold these values in order."""
        rest, fixed = iter(values), {place: value for place, _, value in self.constants}
        leaves = [fixed[place] if place in fixed else next(rest) for place in range(self.structure.num_leaves)]
        args, kwargs = pytree.tree_unflatten(leaves, self.structure)
        return args, kwargs


@dataclass(frozen=True)
class Origin:
    """Which call of a model was traced, and how.

    Attributes:
        form: The form of the call.
        heads: Names of the heads, if they were named.
        rules: Rules that come before the built-in ones.
        ignore: Names of modules left out.
    """

    form: Form
    heads: tuple[str, ...] | None
    rules: Mapping[Any, Any]
    ignore: tuple[str, ...]


def form_of(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Form, list[Any]]:
    """The form of a call of a model, and the values that it has apart from that, tensors as a rule.

    Raises:
        TypeError: If the forward does not take the arguments.

    >>> form, values = form_of(nn.Linear(2, 2), [torch.ones(1, 2)], {})
    >>> form.names, len(values)
    (('input',), 1)
    """
    given = inspect.signature(model.forward).bind(*args, **kwargs)
    given.apply_defaults()
    leaves, structure = pytree.tree_flatten((given.args, given.kwargs))
    constants = tuple((n, type(leaf), leaf) for n, leaf in enumerate(leaves) if isinstance(leaf, _CONSTANTS))
    fixed = {place for place, _, _ in constants}
    tops = [name for name, value in given.arguments.items() for _ in pytree.tree_leaves(value)]
    names: list[str] = []
    for place in [place for place in range(len(leaves)) if place not in fixed]:
        top = tops[place]
        names.append(top if tops.count(top) == 1 else f"{top}_{place}")
    return Form(structure, constants, tuple(names)), [leaf for n, leaf in enumerate(leaves) if n not in fixed]


def few_samples(values: Sequence[Any], most: int = 2) -> list[Any]:
    """The values of a call with at most so many samples: of tensors as long as the first one, the beginning.

    >>> [len(value) for value in few_samples([torch.ones(5, 3), torch.ones(4), torch.ones(5)])]
    [2, 4, 2]
    """
    lengths = [len(value) for value in values if isinstance(value, Tensor) and value.ndim]
    return [
        value[:most] if isinstance(value, Tensor) and value.ndim and len(value) == lengths[0] else value
        for value in values
    ]


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples, mappings and plain objects such as data classes, in order.

    >>> tensors_in({"logits": torch.ones(2), "more": [None, torch.zeros(1)]})
    [tensor([1., 1.]), tensor([0.])]
    """
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    elif not isinstance(value, list | tuple | set) and hasattr(value, "__dict__") and not isinstance(value, type):
        value = list(vars(value).values())
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in tensors_in(item)]
    return []
