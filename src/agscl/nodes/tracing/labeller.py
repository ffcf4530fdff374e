"""Labels a graph: runs it once on real values and lets every operation say what it does with units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from agscl.nodes.rules import FUNCTIONS, METHODS, MODULES, QUALIFIED, Rule

from .call import Call, TraceError, first_line
from .calls import Origin
from .exported import on_model
from .labels import HEAD, HeadLabel, Label, ParameterLabel, labels_in
from .ledger import Ledger
from .writes import InPlaceWrites

Rules = Mapping[Any, Rule]


class Labeller(fx.Interpreter):
    """Runs a graph on real values and keeps every value's label beside it."""

    def __init__(self, model: nn.Module, graph: fx.Graph, constants: Mapping[str, Tensor], origin: Origin) -> None:
        super().__init__(on_model(model, graph, constants))
        self.extra_traceback, self.garbage_collect_values = False, False
        self.ledger = Ledger()
        self._labels: dict[fx.Node, Any] = {}
        self._heads, self._rules, self._ignore = origin.heads or (), origin.rules, origin.ignore
        self._lists = {n for n, part in model.named_modules() if isinstance(part, nn.ModuleList | nn.ModuleDict)}
        self._fixed: set[fx.Node] = set()
        self._names = {id(tensor): name for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
        self._writes = InPlaceWrites()

    def label_all(self, values: Sequence[Any]) -> None:
        """Run the graph on the values of a call.

        Raises:
            TraceError: If an operation is refused.
            ValueError: If the inputs do not fit.
        """
        try:
            self.run(*map(own_copy, values), enable_io_processing=False)
        except TraceError:
            raise
        except Exception as error:
            raise ValueError(f"the example inputs do not fit the model: {first_line(error)}") from error

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation and label its result."""
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        before = self._writes.versions(args, kwargs)
        value = super().run_node(n)
        if n.op == "get_attr":
            name = self._names.get(id(value))
            self.ledger.used |= {name} if name and n.users else set()
            self._labels[n] = ParameterLabel(name, value.shape) if name and isinstance(value, nn.Parameter) else None
        elif n.op == "output":
            found = labels_in(fx.node.map_arg(n.args, self._labels.get))
            self.ledger.outputs += [label.ids for label in found if isinstance(label, Label)]
        elif n.op.startswith("call_"):
            call = self._call(n, args, kwargs, value)
            label = self._labels[n] = self._label(call)
            if isinstance(label, Label):
                self.ledger.labels[n] = label.ids
            self._writes.follow(call, before, self._labels)
        self._writes.note(n, value)
        if n.op in ("get_attr", "call_function", "call_method") and not isinstance(self._labels[n], ParameterLabel):
            of_fixed = all(node in self._fixed for node in n.all_input_nodes)
            self._fixed |= {n} if of_fixed or not _has_tensors(value) else set()
        return value

    def _call(self, n: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any) -> Call:
        modules = n.meta.get("nn_module_stack")
        where = str(next(reversed(modules.values()))[0]) if modules else ""
        for label in map(self._labels.get, n.all_input_nodes):
            if isinstance(label, ParameterLabel):
                self.ledger.users.setdefault(label.name, set()).add(where)
        return Call(
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
            self._require_no_nodes(call)
            return HEAD if any(isinstance(label, HeadLabel) for label in call.labels) else None
        try:
            label = rule(call)
        except TraceError:
            raise
        except (ValueError, RuntimeError, TypeError, IndexError) as error:
            raise call.refusal(first_line(error)) from error
        if isinstance(label, ParameterLabel) and label.positions.shape != call.value.shape:
            raise call.refusal("it computes with a parameter")
        return label

    def _require_no_nodes(self, call: Call) -> None:
        """Refuse an operation without a rule if it has to do with nodes or parameters."""
        if call.labels and all(isinstance(label, ParameterLabel) for label in call.labels):
            raise call.refusal("there is no rule for it on a parameter: its weight is computed")
        has_parameters = isinstance(call.operation, nn.Module) and any(True for _ in call.operation.parameters())
        if has_parameters or any(isinstance(label, Label | ParameterLabel) for label in call.labels):
            raise call.refusal(f"there is no rule for it{self._head_hint(call)}")

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
            rule = module_rule(call.operation, self._rules)
            if rule is not None and runs_hooks(call.operation, call.args, call.kwargs):
                raise call.refusal("its hooks change what it computes, which no rule knows")
            return rule
        key = call.operation
        if isinstance(key, torch._ops.OpOverload):
            own = {getattr(function, "__name__", function): rule for function, rule in self._rules.items()}
            return self._rules.get(key) or own.get(call.name) or METHODS.get(call.name)
        table: Mapping[Any, Rule] = METHODS if call.node.op == "call_method" else FUNCTIONS
        return self._rules.get(key) or table.get(key) or QUALIFIED.get(_qualified(key))


def module_rule(module: nn.Module, rules: Rules) -> Rule | None:
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


def runs_hooks(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
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


def _qualified(operation: Any) -> str:
    return f"{getattr(operation, '__module__', '')}.{getattr(operation, '__qualname__', '')}"


def own_copy(value: Any) -> Any:
    """A copy of a tensor, which the forward may write into."""
    return value.clone() if isinstance(value, Tensor) else value


def _inside(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}.")


def _has_tensors(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(map(_has_tensors, value)))
