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
from .writes import InPlaceWrites

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
    _require_registered(model)
    try:
        form, values = form_of(model, arguments(example_inputs), {})
    except TypeError as error:
        raise ValueError(f"the example inputs do not fit the model: {_cause(error)}") from error
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
    with eval_mode(model), torch.no_grad():
        graph = _symbolic(model, origin)
        labeller = _Labeller(model, graph, origin.heads or (), origin.rules, origin.ignore)
        try:
            labeller.run(*map(_own_copy, values), enable_io_processing=False)
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
        self.extra_traceback, self.garbage_collect_values = False, False
        self.ledger = Ledger()
        self._labels: dict[fx.Node, Any] = {}
        self._heads, self._rules, self._ignore = heads, rules, ignore
        self._lists = {n for n, part in model.named_modules() if isinstance(part, nn.ModuleList | nn.ModuleDict)}
        self._fixed: set[fx.Node] = set()
        self._names = {id(tensor): name for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
        self._writes = InPlaceWrites()

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation and label its result."""
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        before = self._writes.versions(args, kwargs)
        value = super().run_node(n)
        if n.op == "get_attr":
            name = self._names.get(id(value))
            self.ledger.used |= {name} if name and n.users else set()
            self._labels[n] = ParameterLabel(name, value.shape) if name and isinstance(value, nn.Parameter) else None
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
                fixed=self._fixed,
                where=where,
                in_head=any(_inside(place, name) for name in self._heads for place in [where, *self._taken(n)]),
            )
            label = self._labels[n] = self._label(call)
            if isinstance(label, Label):
                self.ledger.labels[n] = label.ids
            self._writes.follow(call, before, self._labels)
        self._writes.note(n, value)
        if n.op in ("get_attr", "call_function", "call_method") and not isinstance(self._labels[n], ParameterLabel):
            of_fixed = all(node in self._fixed for node in n.all_input_nodes)
            self._fixed |= {n} if of_fixed or not _has_tensors(value) else set()
        return value

    def _taken(self, n: fx.Node) -> list[str]:
        """Parameters that an operation takes as they are: they may be a head's, whoever runs it."""
        labels = map(self._labels.get, n.all_input_nodes)
        return [label.name for label in labels if isinstance(label, ParameterLabel) and label.view is None]

    def _label(self, call: Call) -> Any:
        """The label of a result, by the operation's rule."""
        if any(_inside(call.where, name) for name in self._ignore):
            self.ledger.exposed += [label.ids.flatten() for label in call.labels if isinstance(label, Label)]
            return None
        if isinstance(call.operation, nn.Module):
            own = (*call.operation.parameters(), *call.operation.buffers())
            self.ledger.used |= {self._names[id(tensor)] for tensor in own if id(tensor) in self._names}
        if not _has_tensors(call.value):
            return None
        rule = self._rule(call)
        if rule is None:
            has_parameters = isinstance(call.operation, nn.Module) and any(True for _ in call.operation.parameters())
            if has_parameters or any(isinstance(label, Label | ParameterLabel) for label in call.labels):
                raise call.refusal(f"there is no rule for it{self._head_hint(call)}")
            return HEAD if any(isinstance(label, HeadLabel) for label in call.labels) else None
        try:
            return rule(call)
        except TraceError:
            raise
        except (ValueError, RuntimeError, TypeError, IndexError) as error:
            raise call.refusal(_cause(error)) from error

    def _head_hint(self, call: Call) -> str:
        """Which module to name as a head, if none was named and it makes what an operation without a rule reads."""
        ids = {unit for label in call.labels if isinstance(label, Label) for unit in label.ids.flatten().tolist()}
        made = (name for (name, _), units in self.ledger.incoming.items() if ids & set(units.tolist()))
        if self._heads or (name := next(made, None)) is None:
            return ""
        path = name.rpartition(".")[0]
        parent = path.rpartition(".")[0]
        head = parent if parent in self._lists else path
        return f"; if {head!r} makes the model's outputs, say heads={head!r}"

    def _rule(self, call: Call) -> Rule | None:
        """The rule of an operation, if there is one."""
        if isinstance(call.operation, nn.Module):
            rule = _module_rule(call.operation, self._rules)
            if rule is not None and _runs_hooks(call.operation, call.args, call.kwargs):
                raise call.refusal("its hooks change what it computes, which no rule knows")
            return rule
        table: Mapping[Any, Rule] = METHODS if call.node.op == "call_method" else FUNCTIONS
        return self._rules.get(call.operation) or table.get(call.operation) or QUALIFIED.get(_qualified(call.operation))


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
    """The rule of a module's class, or of a base of which it keeps all that computes."""
    if (own := rules.get(type(module))) is not None:
        return own
    if any(
        name not in _HARMLESS and callable(getattr(type(module), name, None)) and not getattr(own, "keeps_nodes", False)
        for name, own in vars(module).items()
    ):
        return None  # a method that was replaced on the instance
    for kind in type(module).__mro__:
        rule = rules.get(kind) or MODULES.get(kind) or QUALIFIED.get(_qualified(kind))
        if rule is not None:
            return rule if not _overrides(type(module), kind) else None
    return None


_HARMLESS = {
    "reset_parameters",
    "extra_repr",
    "weight",
    "bias",
    "training",
    "dump_patches",
    "T_destination",
    "call_super_init",
    "_replicate_for_data_parallel",
}


def _overrides(kind: type[nn.Module], base: type[nn.Module]) -> bool:
    """Whether a class computes by anything else than its base in torch: a forward, a part of one, a property."""
    own = [other for other in kind.__mro__[: kind.__mro__.index(base)] if not other.__module__.startswith("torch.nn.")]
    return any(
        hasattr(base, name) and name not in _HARMLESS and not (name.startswith("__") and name != "__call__")
        for other in own
        for name in vars(other)
    )


def _runs_hooks(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether hooks change what goes into a module's forward or comes out of it."""
    everywhere = nn.modules.module._global_forward_hooks or nn.modules.module._global_forward_pre_hooks
    if not (module._forward_hooks or module._forward_pre_hooks or everywhere):
        return False
    seen: list[Any] = []
    plain, patched = module.forward, vars(module).get("forward")

    def forward(*given: Any, **named: Any) -> Any:
        seen.extend([*given, *named.values()])
        seen.append(plain(*given, **named))
        return seen[-1]

    module.forward = forward
    try:
        result = module(*args, **kwargs)
    finally:
        del module.forward
        if patched is not None:
            module.forward = patched
    given = [*args, *kwargs.values()]
    return len(seen) != len(given) + 1 or any(
        one is not other for one, other in zip(seen, [*given, result], strict=True)
    )


def _cause(error: Exception) -> str:
    """The first line of an error, or its kind."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _qualified(operation: Any) -> str:
    return f"{getattr(operation, '__module__', '')}.{getattr(operation, '__qualname__', '')}"


def _require_followed(model: nn.Module, form: Form, values: Sequence[Any]) -> None:
    """Refuse a model whose call is more than its class's forward, which a trace would not follow."""
    args, kwargs = form.arguments([_own_copy(value) for value in values])
    with eval_mode(model), torch.no_grad():
        try:
            hooked = _runs_hooks(model, args, kwargs)
        except Exception as error:
            raise ValueError(f"the example inputs do not fit the model: {_cause(error)}") from error
    if hooked or "forward" in vars(model):
        raise TraceError(
            f"cannot trace {type(model).__name__}: hooks, or a forward set on the model itself, change what it "
            "computes and would not be followed; remove them, or wrap the model in a module that calls it"
        )


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


def _own_copy(value: Any) -> Any:
    """A copy of a tensor, which the forward may write into."""
    return value.clone() if isinstance(value, Tensor) else value


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
