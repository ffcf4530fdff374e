"""Tracing: a model's graph, run once, where every operation says what it does with units.

Symbolic tracing comes first: it keeps modules whole. What it cannot follow is exported by `torch.export`, with
operations of ATen, which follow the same rules.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from agscl.nodes.graph import NodeGraph

from .assemble import assemble
from .call import TraceError, UnfollowedError, first_line
from .exported import exported
from .labeller import Labeller
from .labeller import Rules as Rules
from .symbolic import symbolic

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""What a model is called with: by position, and by name."""


def trace(
    model: nn.Module,
    example_inputs: Any,
    *,
    heads: str | Iterable[str] | None = None,
    rules: Rules | None = None,
    ignore: Iterable[str] = (),
) -> NodeGraph:
    """Find the nodes of a model.

    The model is traced in eval mode on the example inputs; nothing about it changes. Positions in the graph lie on the
    model's device, so move the model first.

    >>> print(trace(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.ones(2, 3)))
    4 nodes in 1 layers
    0: 4 nodes
        in   0.weight[0..3], 0.bias[0..3]
        out  2.weight[:, 0..3]
    heads: 2

    Args:
        model: Any module that torch.fx can follow.
        example_inputs: A batch for ``model(*example_inputs)``; a single tensor stands for itself. Two samples do.
        heads: Names of the modules that only consume nodes and make the outputs. By default the modules whose
            outputs nothing else reads; a list or dict of such modules holds one head per task, in order.
        rules: Rules of your own, by module type or function; they come before the built-in ones.
        ignore: Names of modules to leave out: nothing in them is protected, and what flows into them is no node.

    Raises:
        TraceError: If an operation has no rule or the forward cannot be followed; it names the place and the way
            out.
        ValueError: If the example inputs do not fit or a named module does not exist.
    """
    names = (heads,) if isinstance(heads, str) else tuple(heads or ())
    args, kwargs = arguments(example_inputs)
    modules = {name for name, _ in model.named_modules() if name}
    if missing := [name for name in [*names, *ignore] if name not in modules]:
        known = ", ".join(child for child, _ in model.named_children())
        raise ValueError(f"the model has no module {missing[0]!r}; its parts are {known}")
    named = names if heads is not None else None
    with eval_mode(model), torch.no_grad():
        if kwargs:
            return _by_export(model, args, kwargs, named, rules or {}, tuple(ignore))
        try:
            return _by_fx(model, args, named, rules or {}, tuple(ignore))
        except TraceError as error:
            if any(isinstance(kind, type) and issubclass(kind, nn.Module) for kind in rules or {}):
                raise  # an exported graph has no modules that could follow a rule
            try:
                return _by_export(model, args, kwargs, named, rules or {}, tuple(ignore))
            except UnfollowedError:
                if isinstance(error, UnfollowedError):
                    raise
                raise error from None  # what has no rule says more


def _by_fx(
    model: nn.Module, args: tuple[Any, ...], heads: tuple[str, ...] | None, rules: Rules, ignore: tuple[str, ...]
) -> NodeGraph:
    """The node graph by symbolic tracing: modules with a rule are one operation each."""
    graph = symbolic(model, args, rules, ignore)
    placeholders = list(graph.find_nodes(op="placeholder"))
    labeller = Labeller(model, graph, {}, heads or (), rules, ignore)
    labeller.label_all(*args, *(node.args[0] for node in placeholders[len(args) :]))
    return assemble(model, graph, labeller.ledger, heads, placeholders[: len(args)])


def _by_export(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    heads: tuple[str, ...] | None,
    rules: Rules,
    ignore: tuple[str, ...],
) -> NodeGraph:
    """The node graph by `torch.export`: every operation is one of ATen."""
    args, kwargs = _two_samples((args, kwargs))
    try:
        model(*args, **kwargs)
    except Exception as error:
        raise ValueError(f"the example inputs do not fit the model: {first_line(error)}") from error
    graph, constants = exported(model, args, kwargs)
    placeholders = list(graph.find_nodes(op="placeholder"))
    given = inspect.signature(model.forward).bind(*args, **kwargs).arguments
    labeller = Labeller(model, graph, constants, heads or (), rules, ignore)
    labeller.label_all(*(given[str(node.target)] for node in placeholders))
    return replace(assemble(model, graph, labeller.ledger, heads, placeholders), constants=constants)


def _two_samples(inputs: Any) -> Any:
    """The inputs, with a single sample twice, since torch.export would take the number one for a constant."""
    tensors = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor) and leaf.ndim]
    if not tensors or len(tensors[0]) != 1:
        return inputs
    return tree_map(lambda leaf: _twice(leaf) if isinstance(leaf, Tensor) and leaf.ndim else leaf, inputs)


def _twice(tensor: Tensor) -> Tensor:
    return torch.cat([tensor, tensor]) if len(tensor) == 1 else tensor


def arguments(example_inputs: Any) -> Arguments:
    """Example inputs as arguments of a call: a single tensor stands for itself, a dict for arguments by name."""
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    return ((example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)), {}


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """The model in eval mode; every module's mode is as before afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
