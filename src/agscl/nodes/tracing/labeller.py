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

Rules = Mapping[Any, Rule]


class Labeller(fx.Interpreter):
    """Runs a graph on real values and keeps every value's label beside it."""

    def __init__(
        self,
        model: nn.Module,
        graph: fx.Graph,
        constants: Mapping[str, Tensor],
        origin: Origin,
    ) -> None:
        super().__init__(on_model(model, graph, constants))
        self.extra_traceback = False
        self.ledger = Ledger()
        self._labels: dict[fx.Node, Any] = {}
        self._heads, self._rules, self._ignore = origin.heads or (), origin.rules, origin.ignore
        self._fixed: set[fx.Node] = set()
        self._names = {id(tensor): name for name, tensor in [*model.named_parameters(), *model.named_buffers()]}

    def label_all(self, values: Sequence[Any]) -> None:
        """Run the graph on the values of a call.

        Raises:
            TraceError: If an operation is refused.
            ValueError: If the inputs do not fit.
        """
        try:
            self.run(*values, enable_io_processing=False)
        except TraceError:
            raise
        except Exception as error:
            raise ValueError(f"the example inputs do not fit the model: {first_line(error)}") from error

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation and label its result."""
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        value = super().run_node(n)
        if n.op == "get_attr":
            name = self._names.get(id(value))
            self._labels[n] = ParameterLabel(name, value.shape) if name and isinstance(value, nn.Parameter) else None
        elif n.op == "output":
            found = labels_in(fx.node.map_arg(n.args, self._labels.get))
            self.ledger.outputs += [label.ids for label in found if isinstance(label, Label)]
        elif n.op.startswith("call_"):
            label = self._labels[n] = self._label(self._call(n, args, kwargs, value))
            if isinstance(label, Label):
                self.ledger.labels[n] = label.ids
        depends = n.op == "placeholder" or isinstance(self._labels.get(n), ParameterLabel)
        if not depends and (not _has_tensors(value) or all(node in self._fixed for node in n.all_input_nodes)):
            self._fixed.add(n)
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
            in_head=any(_inside(place, name) for name in self._heads for place in [where, *self._used_by(n)]),
        )

    def _used_by(self, n: fx.Node) -> list[str]:
        """Parameters that an operation takes as they are: they may be a head's, whoever runs it."""
        labels = map(self._labels.get, n.all_input_nodes)
        return [label.name for label in labels if isinstance(label, ParameterLabel) and label.view is None]

    def _label(self, call: Call) -> Any:
        """The label of a result, by the operation's rule."""
        if any(_inside(call.where, name) for name in self._ignore):
            self.ledger.exposed += [label.ids.flatten() for label in call.labels if isinstance(label, Label)]
            return None
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
            raise call.refusal("there is no rule for it")

    def _rule(self, call: Call) -> Rule | None:
        key = call.operation
        if call.node.op == "call_module":
            return module_rule(key, self._rules)
        if isinstance(key, torch._ops.OpOverload):
            own = {getattr(function, "__name__", function): rule for function, rule in self._rules.items()}
            return self._rules.get(key) or own.get(call.name) or METHODS.get(call.name)
        table: Mapping[Any, Rule] = METHODS if call.node.op == "call_method" else FUNCTIONS
        return self._rules.get(key) or table.get(key) or QUALIFIED.get(_qualified(key))


def module_rule(module: nn.Module, rules: Rules) -> Rule | None:
    """The rule of a module's class, or of a base whose forward it keeps."""
    keeps_forward = True
    for kind in type(module).__mro__:
        rule = rules.get(kind) or MODULES.get(kind) or QUALIFIED.get(_qualified(kind))
        if rule is not None:
            return rule if kind in rules or keeps_forward else None
        keeps_forward &= "forward" not in vars(kind) or kind.__module__.startswith("torch.nn")
    return None


def _qualified(operation: Any) -> str:
    return f"{getattr(operation, '__module__', '')}.{getattr(operation, '__qualname__', '')}"


def _inside(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}.")


def _has_tensors(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(map(_has_tensors, value)))
