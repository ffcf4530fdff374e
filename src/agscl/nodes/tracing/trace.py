"""Tracing: run a model's torch.fx graph once and let every operation say what it does with units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from agscl.nodes.graph import NodeGraph
from agscl.nodes.rules import FUNCTIONS, METHODS, MODULES, QUALIFIED, Rule

from .assemble import assemble, deep_heads
from .call import Call, TraceError
from .calls import Form, Origin, form_of
from .labels import HEAD, HeadLabel, Label, ParameterLabel
from .ledger import Ledger

Rules = Mapping[Any, Rule]


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
    try:
        form, values = form_of(model, arguments(example_inputs), {})
    except TypeError as error:
        raise ValueError(f"the example inputs do not fit the model: {_cause(error)}") from error
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
    with eval_mode(model), torch.no_grad():
        graph = _symbolic(model, origin)
        labeller = _Labeller(model, graph, origin.heads or (), origin.rules, origin.ignore)
        try:
            labeller.run(*values, enable_io_processing=False)
        except TraceError:
            raise
        except Exception as error:
            raise ValueError(f"the example inputs do not fit the model: {_cause(error)}") from error
    found = assemble(model, graph, labeller.ledger, origin.heads, origin.ignore)
    if origin.heads is None and (deep := deep_heads(model, found)):
        return _trace(model, values, replace(origin, heads=deep))
    return replace(found, origin=origin)


class _Labeller(fx.Interpreter):
    """Runs a graph on real values and keeps every value's label beside it."""

    def __init__(
        self, model: nn.Module, graph: fx.Graph, heads: tuple[str, ...], rules: Rules, ignore: tuple[str, ...]
    ) -> None:
        super().__init__(fx.GraphModule(model, graph))
        self.extra_traceback = False
        self.ledger = Ledger()
        self._labels: dict[fx.Node, Any] = {}
        self._heads, self._rules, self._ignore = heads, rules, ignore
        self._names = {id(tensor): name for name, tensor in [*model.named_parameters(), *model.named_buffers()]}

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation and label its result."""
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        value = super().run_node(n)
        if n.op == "get_attr":
            name = self._names.get(id(value))
            self._labels[n] = ParameterLabel(name) if name and isinstance(value, nn.Parameter) else None
        elif n.op.startswith("call_"):
            modules = n.meta.get("nn_module_stack")
            where = str(next(reversed(modules.values()))[0]) if modules else ""
            call = Call(
                node=n,
                operation=self.fetch_attr(str(n.target)) if n.op == "call_module" else n.target,
                args=args,
                kwargs=kwargs,
                label_args=fx.node.map_arg(n.args, self._labels.get),
                label_kwargs=fx.node.map_arg(n.kwargs, self._labels.get),
                value=value,
                ledger=self.ledger,
                name_of=lambda tensor: self._names.get(id(tensor)),
                where=where,
                in_head=any(_inside(where, name) for name in self._heads),
            )
            label = self._labels[n] = self._label(call)
            if isinstance(label, Label):
                self.ledger.labels[n] = label.ids
        return value

    def _label(self, call: Call) -> Any:
        """The label of a result, by the operation's rule."""
        if any(_inside(call.where, name) for name in self._ignore):
            self.ledger.exposed += [label.ids.flatten() for label in call.labels if isinstance(label, Label)]
            return None
        if not _has_tensors(call.value):
            return None
        if call.node.op == "call_module":
            rule = _module_rule(call.operation, self._rules)
        else:
            table: Mapping[Any, Rule] = METHODS if call.node.op == "call_method" else FUNCTIONS
            key = call.operation
            rule = self._rules.get(key) or table.get(key) or QUALIFIED.get(_qualified(key))
        if rule is None:
            has_parameters = isinstance(call.operation, nn.Module) and any(True for _ in call.operation.parameters())
            if has_parameters or any(isinstance(label, Label | ParameterLabel) for label in call.labels):
                raise call.refusal("there is no rule for it")
            return HEAD if any(isinstance(label, HeadLabel) for label in call.labels) else None
        try:
            return rule(call)
        except TraceError:
            raise
        except (ValueError, RuntimeError, TypeError, IndexError) as error:
            raise call.refusal(_cause(error)) from error


class _Tracer(fx.Tracer):
    """Keeps as one operation every module that has a rule, or is ignored, and all of torch's own."""

    def __init__(self, origin: Origin) -> None:
        super().__init__(param_shapes_constant=True)
        self._origin = origin

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the module is one operation of the graph."""
        return (
            module_qualified_name in self._origin.ignore
            or _module_rule(m, self._origin.rules) is not None
            or super().is_leaf_module(m, module_qualified_name)
        )

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        """Placeholders for the tensors of the call; its constants are what they are."""
        form = self._origin.form

        def forward(root: nn.Module, *values: Any) -> Any:
            args, kwargs = form.arguments(values)
            return root_fn(root, *args, **kwargs)

        return forward, [self.root, *(self.create_proxy("placeholder", name, (), {}) for name in form.names)]


def _symbolic(model: nn.Module, origin: Origin) -> fx.Graph:
    try:
        return _Tracer(origin).trace(model)
    except Exception as error:
        raise TraceError(
            f"torch.fx cannot follow the forward of {type(model).__name__}: {_cause(error)}; leave the part with the "
            "control flow out (ignore=('its.module',)) or give its type a rule (rules={...})"
        ) from error


def _module_rule(module: nn.Module, rules: Rules) -> Rule | None:
    """The rule of a module's class, or of a base whose forward it keeps."""
    keeps_forward = True
    for kind in type(module).__mro__:
        rule = rules.get(kind) or MODULES.get(kind) or QUALIFIED.get(_qualified(kind))
        if rule is not None:
            return rule if kind in rules or keeps_forward else None
        keeps_forward &= "forward" not in vars(kind) or kind.__module__.startswith("torch.nn")
    return None


def _cause(error: Exception) -> str:
    """The first line of an error, or its kind."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _qualified(operation: Any) -> str:
    return f"{getattr(operation, '__module__', '')}.{getattr(operation, '__qualname__', '')}"


def _inside(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}.")


def _has_tensors(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(map(_has_tensors, value)))


def arguments(example_inputs: Any) -> tuple[Any, ...]:
    """Example inputs as positional arguments; a single tensor stands for itself."""
    return (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)


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
