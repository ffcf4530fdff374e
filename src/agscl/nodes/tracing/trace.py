"""Tracing: a model's graph, run once, where every operation says what it does with units.

Symbolic tracing comes first: it keeps modules whole. What it cannot follow is exported by `torch.export`, with
operations of ATen, which follow the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from agscl.nodes.graph import NodeGraph

from .assemble import assemble, deep_heads
from .call import TraceError, UnfollowedError, first_line
from .calls import Form, Origin, form_of
from .exported import exported, two_samples
from .labeller import Labeller, own_copy, runs_hooks
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
        model: Any module that torch.fx or torch.export can follow.
        example_inputs: A batch for ``model(*example_inputs)``; a single tensor stands for itself, a dict for arguments
            by name. Two samples do.
            Numbers and strings among them, the number of a task say, are constants of the graph.
        heads: Names of the modules that only consume nodes and make the outputs. By default the modules whose
            outputs nothing else reads; a list or dict of such modules holds one head per task, in order, also where
            these have hidden layers of their own.
        rules: Rules of your own, by module type or function; they come before the built-in ones.
        ignore: Names of modules to leave out. What is in them, and what flows into them, is no node: it learns with the
            first task and is then frozen as a whole.

    Raises:
        TraceError: If an operation has no rule or the forward cannot be followed; it names the place and the way
            out.
        ValueError: If the example inputs do not fit or a named module does not exist.
    """
    names = (heads,) if isinstance(heads, str) else None if heads is None else tuple(heads)
    modules = {name for name, _ in model.named_modules() if name}
    ignored = tuple(ignore)
    if missing := [name for name in [*(names or ()), *ignored] if name not in modules]:
        known = ", ".join(child for child, _ in model.named_children())
        raise ValueError(f"the model has no module {missing[0]!r}; its parts are {known}")
    _require_registered(model)
    try:
        form, values = form_of(model, *arguments(example_inputs))
    except TypeError as error:
        raise ValueError(f"the example inputs do not fit the model: {first_line(error)}") from error
    _require_followed(model, form, values)
    return _trace(model, values, Origin(form, names, rules or {}, ignored))


def trace_anew(model: nn.Module, graph: NodeGraph, form: Form, values: Sequence[Any]) -> NodeGraph:
    """The node graph of another call of a model that was traced before, with the same heads and rules.

    Args:
        model: The model.
        graph: Its node graph.
        form: The form of the call.
        values: What the call has apart from that.

    Raises:
        TraceError: If the call cannot be followed.
    """
    assert graph.origin is not None
    return _trace(model, values, replace(graph.origin, form=form))


def _trace(model: nn.Module, values: Sequence[Any], origin: Origin) -> NodeGraph:
    found = _found(model, values, origin)
    if origin.heads is None and (deep := deep_heads(model, found)):
        return _found(model, values, replace(origin, heads=deep))
    return found


def _found(model: nn.Module, values: Sequence[Any], origin: Origin) -> NodeGraph:
    with eval_mode(model), torch.no_grad():
        try:
            return _by_fx(model, values, origin)
        except TraceError as error:
            if any(isinstance(kind, type) and issubclass(kind, nn.Module) for kind in origin.rules):
                raise  # an exported graph has no modules that could follow a rule
            try:
                return _by_export(model, values, origin)
            except TraceError:
                if isinstance(error, UnfollowedError):
                    raise
                raise error from None  # the model's own modules say more


def _by_fx(model: nn.Module, values: Sequence[Any], origin: Origin) -> NodeGraph:
    """The node graph by symbolic tracing: modules with a rule are one operation each."""
    graph = symbolic(model, origin)
    labeller = Labeller(model, graph, {}, origin)
    labeller.label_all(values)
    return replace(assemble(model, graph, labeller.ledger, origin.heads, origin.ignore), origin=origin)


def _by_export(model: nn.Module, values: Sequence[Any], origin: Origin) -> NodeGraph:
    """The node graph by `torch.export`: every operation is one of ATen."""
    values = two_samples(values)
    graph, constants = exported(model, values, origin)
    labeller = Labeller(model, graph, constants, origin)
    labeller.label_all(values)
    return replace(
        assemble(model, graph, labeller.ledger, origin.heads, origin.ignore), origin=origin, constants=constants
    )


def _require_followed(model: nn.Module, form: Form, values: Sequence[Any]) -> None:
    """Refuse a model whose call is more than its class's forward, which a trace would not follow."""
    args, kwargs = form.arguments([own_copy(value) for value in values])
    with eval_mode(model), torch.no_grad():
        try:
            hooked = runs_hooks(model, args, kwargs)
        except Exception as error:
            raise ValueError(f"the example inputs do not fit the model: {first_line(error)}") from error
        if (name := _hooked_part(model, args, kwargs)) is not None:
            raise TraceError(
                f"cannot trace {name!r}: {type(model.get_submodule(name)).__name__}: its hooks change what it computes "
                "and would not be followed; remove them"
            )
    if hooked or "forward" in vars(model):
        raise TraceError(
            f"cannot trace {type(model).__name__}: hooks, or a forward set on the model itself, change what it "
            "computes and would not be followed; remove them, or wrap the model in a module that calls it"
        )


def _hooked_part(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """A part of the model whose hooks change what goes into its forward or what comes out of it."""
    parts = {n: part for n, part in model.named_modules() if n and (part._forward_hooks or part._forward_pre_hooks)}
    found: list[str] = []

    def checked(name: str, part: nn.Module) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            del part.forward
            try:
                if runs_hooks(part, given, named):
                    found.append(name)
            finally:
                part.forward = call
            return plain[name](*given, **named)

        return call

    plain = {name: part.forward for name, part in parts.items() if "forward" not in vars(part)}
    for name in plain:
        parts[name].forward = checked(name, parts[name])
    try:
        if plain:
            model(*args, **kwargs)
    finally:
        for name in plain:
            del parts[name].forward
    return found[0] if found else None


def _require_registered(model: nn.Module) -> None:
    """Refuse tensors that learn and are no parameters: a trace takes them for constants."""
    known = set(map(id, model.parameters()))
    for path, module in model.named_modules():
        held = {**module._buffers, **{name: value for name, value in vars(module).items() if name != "_buffers"}}
        for name, value in held.items():
            parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            if any(isinstance(part, Tensor) and part.requires_grad and id(part) not in known for part in parts):
                raise TraceError(
                    f"cannot trace the model: {f'{path}.{name}'.lstrip('.')!r} learns and is no parameter of the "
                    "model; register it as an nn.Parameter, or detach() it"
                )


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
