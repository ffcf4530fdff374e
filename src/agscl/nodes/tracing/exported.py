"""The second front end: a model's graph by `torch.export`, for what torch.fx cannot follow, as operations of ATen."""

from __future__ import annotations

import operator
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import ExportGraphSignature, InputKind, OutputKind
from torch.utils import _pytree as pytree

from .call import TraceError, UnfollowedError, first_line
from .calls import Origin

Constants = dict[str, Tensor]
"""Tensors that the graph uses and the model does not hold, by the name that the graph has for them."""

_INLINED = ("wrap_with_set_grad_enabled", "wrap_with_autocast")
_DECOMPOSED = (torch.ops.aten.einsum.default,)
_CHECKS = ("_assert_tensor_metadata", "_assert_async", "_assert_scalar", "sym_constrain_range", "_guards_fn")


def exported(model: nn.Module, values: Sequence[Any], origin: Origin) -> tuple[fx.Graph, Constants]:
    """The graph of a call of a model, in eval mode, for any number of samples, and of tokens where ids are given.

    Its placeholders are the call's tensors, by name; parameters and buffers are looked up on the model.

    Args:
        model: The model.
        values: The call's tensors, of two samples or more: see `two_samples`.
        origin: The call's form.

    Raises:
        UnfollowedError: If torch.export cannot follow the forward.
        TraceError: If the forward writes into the model's state, or branches as its input says.
        ValueError: If the model cannot be called so.
    """
    args, kwargs = origin.form.arguments(values)
    with _without_hooks(model):
        try:
            model(*args, **kwargs)
        except Exception as error:
            raise ValueError(f"the example inputs do not fit the model: {first_line(error)}") from error
        try:
            try:
                program = _program(model, args, kwargs, tokens=True)
            except Exception:  # a model may rely on the number of tokens
                program = _program(model, args, kwargs, tokens=False)
        except Exception as error:
            cache = " (a cache of keys and values is turned off with use_cache=False)" if "Cache" in str(error) else ""
            raise UnfollowedError(
                f"torch.export cannot follow the forward of {type(model).__name__}: {first_line(error)}{cache}; leave "
                "the part with the control flow out (ignore=('its.module',)) or give its type a rule (rules={...})"
            ) from error
    return _Builder(model, program).build(values, (args, kwargs), origin.form.names)


def two_samples(values: Sequence[Any]) -> list[Any]:
    """The values of a call, with a single sample twice, since torch.export would take the number one for a constant.

    >>> [len(value) for value in two_samples([torch.ones(1, 3), torch.ones(4), torch.ones(1)])]
    [2, 4, 2]
    """
    tensors = [value for value in values if isinstance(value, Tensor) and value.ndim]
    if not tensors or len(tensors[0]) != 1:
        return list(values)
    single = [isinstance(value, Tensor) and value.ndim > 0 and len(value) == 1 for value in values]
    return [torch.cat([value, value]) if twice else value for value, twice in zip(values, single, strict=True)]


@contextmanager
def _without_hooks(model: nn.Module) -> Iterator[None]:
    """A model whose modules call no hooks: those of methods, and of what watches it, are no part of the forward."""
    hooks = [(module, module._forward_pre_hooks, module._forward_hooks) for module in model.modules()]
    for module, *_ in hooks:
        module._forward_pre_hooks, module._forward_hooks = OrderedDict(), OrderedDict()
    try:
        yield
    finally:
        for module, before, after in hooks:
            module._forward_pre_hooks, module._forward_hooks = before, after


def on_model(model: nn.Module, graph: fx.Graph, constants: Mapping[str, Tensor]) -> fx.GraphModule:
    """A graph that computes with the model's own tensors and modules, and with constants that it does not hold."""
    if not constants:
        return fx.GraphModule(model, graph)
    targets = {str(node.target) for node in graph.nodes if node.op in ("get_attr", "call_module")}
    held = {name: constants[name] for name in targets & constants.keys()}
    own = {name: reduce(getattr, name.split("."), model) for name in targets - constants.keys()}
    return fx.GraphModule({**held, **own}, graph)


def _program(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], *, tokens: bool
) -> torch.export.ExportedProgram:
    shapes = torch.export.ShapesCollection()
    for tensor, dims in _dynamic((args, kwargs), tokens=tokens):
        shapes[tensor] = dict.fromkeys(dims, torch.export.Dim.DYNAMIC)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the names of a program that nobody sees; the forward's own were heard
        program: torch.export.ExportedProgram = torch.export.export(
            model, args, kwargs, strict=False, dynamic_shapes=shapes.dynamic_shapes(model, args, kwargs)
        )
    if not any(map(_rewritten, program.graph.nodes)):
        return program
    table = torch.export.default_decompositions()
    decomposed: torch.export.ExportedProgram = program.run_decompositions(
        {operation: table[operation] for operation in _DECOMPOSED}
    )
    return decomposed


def require_sizes(value: Tensor, sizes: tuple[int | None, ...]) -> Tensor:
    """The value, if it has the sizes that the graph was made for; `None` stands for any."""
    if len(sizes) != value.ndim or any(n not in (None, m) for n, m in zip(sizes, value.shape, strict=True)):
        wanted = ", ".join("any" if size is None else str(size) for size in sizes)
        raise ValueError(f"the model was traced for an input of sizes ({wanted}), not {tuple(value.shape)}")
    return value


def _dynamic(inputs: Any, *, tokens: bool) -> Iterator[tuple[Tensor, list[int]]]:
    """Dimensions of the inputs that may change: samples, and the tokens of ids and of what is as long as they."""
    tensors = {id(leaf): leaf for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, Tensor) and leaf.ndim}
    samples = len(next(iter(tensors.values()), ()))
    lengths = {tensor.shape[-1] for tensor in tensors.values() if tensor.ndim > 1 and not tensor.is_floating_point()}
    for tensor in tensors.values():
        dims = [0] if len(tensor) == samples else []
        if tokens and len(tensor.shape[1:]) == 1 and tensor.shape[-1] in lengths - {1}:
            dims.append(1)
        yield tensor, dims


def _rewritten(node: fx.Node) -> bool:
    """Whether an operation writes into its input, or is made of others: then the graph is asked for without it."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    return node.target._schema.is_mutable or node.target in _DECOMPOSED


class _Builder:
    """Turns an exported program into a graph on the model itself."""

    def __init__(self, model: nn.Module, program: torch.export.ExportedProgram) -> None:
        self._model, self._program = model, program
        self._graph, self._constants = fx.Graph(), Constants()
        self._env: dict[fx.Node, Any] = {}

    def build(self, values: Sequence[Any], arguments: Any, names: Sequence[str]) -> tuple[fx.Graph, Constants]:
        signature = self._program.graph_signature
        written = [spec for spec in signature.output_specs if spec.kind is not OutputKind.USER_OUTPUT]
        if written:
            raise TraceError(f"the forward writes into {written[0].target!r}, which is part of the model's state")
        self._place_inputs(values, arguments, names)
        self._place_state(signature)
        for node in self._program.graph.nodes:
            if node.op == "output":
                outputs = fx.node.map_arg(node.args[0], self._env.__getitem__)
                self._graph.output(tuple(outputs))
            elif node not in self._env:
                self._copy(node, self._program.graph_module)
        self._graph.eliminate_dead_code()
        self._graph.lint()
        return self._graph, self._constants

    def _place_inputs(self, values: Sequence[Any], arguments: Any, names: Sequence[str]) -> None:
        """A placeholder for each tensor of the call, which may come in with the sizes that the graph is for."""
        specs = self._program.graph_signature.input_specs
        given = [spec.arg.name for spec in specs if spec.kind is InputKind.USER_INPUT]
        nodes = {node.name: node for node in self._program.graph.nodes if node.op == "placeholder"}
        places = [self._graph.placeholder(name) for name in names]
        rest = list(zip(values, places, strict=True))
        for name, leaf in zip(given, pytree.tree_leaves(arguments), strict=True):
            if rest and rest[0][0] is leaf:
                place = rest.pop(0)[1]
                if isinstance(leaf, Tensor):
                    sizes = tuple(size if isinstance(size, int) else None for size in nodes[name].meta["val"].shape)
                    place = self._graph.call_function(require_sizes, (place, sizes))
                self._env[nodes[name]] = place
            elif name in nodes:
                self._env[nodes[name]] = leaf

    def _place_state(self, signature: ExportGraphSignature) -> None:
        """Parameters and buffers become look-ups on the model; other tensors are kept beside the graph."""
        parameters = self._model.named_parameters(remove_duplicate=False)
        own = {name for name, _ in [*parameters, *self._model.named_buffers(remove_duplicate=False)]}
        nodes = {node.name: node for node in self._program.graph.nodes if node.op == "placeholder"}
        for spec in signature.input_specs:
            if spec.kind is InputKind.USER_INPUT:
                continue
            node, target = nodes[spec.arg.name], str(spec.target)
            if target not in own:
                constant = self._program.constants[target]
                if not isinstance(constant, Tensor):
                    raise TraceError(f"the forward uses {target!r}, which is no tensor: it cannot be followed")
                target = "constant_" + target.replace(".", "_")
                self._constants[target] = constant
            self._env[node] = self._graph.create_node("get_attr", target)

    def _copy(self, node: fx.Node, home: nn.Module) -> None:
        """One operation, or the operations of a block that only sets a mode."""
        name = str(getattr(node.target, "__name__", node.target))
        if any(check in name for check in _CHECKS) or node.op == "call_module":
            return
        if node.op == "get_attr":
            if isinstance(getattr(home, str(node.target), None), Tensor):
                raise TraceError(f"the forward uses {node.target!r}, which is no part of the model's state")
            return
        if isinstance(node.target, torch._ops.HigherOrderOperator):
            self._inline(node, home)
        elif node.target is operator.getitem and isinstance(self._env[node.args[0]], tuple):  # type: ignore[index]
            self._env[node] = self._env[node.args[0]][node.args[1]]  # type: ignore[index]
        else:
            self._env[node] = self._graph.node_copy(node, self._env.__getitem__)

    def _inline(self, node: fx.Node, home: nn.Module) -> None:
        blocks = [place for place, arg in enumerate(node.args) if isinstance(arg, fx.Node) and arg.op == "get_attr"]
        if str(node.target) not in _INLINED or len(blocks) != 1:
            raise TraceError(f"the forward has a branch or loop ({node.target}) that depends on its input")
        block = getattr(home, str(node.args[blocks[0]].target))  # type: ignore[union-attr]
        operands = iter(node.args[blocks[0] + 1 :])
        for inner in block.graph.nodes:
            if inner.op == "placeholder":
                self._env[inner] = fx.node.map_arg(next(operands), self._env.__getitem__)
            elif inner.op == "output":
                self._env[node] = fx.node.map_arg(inner.args[0], self._env.__getitem__)
            else:
                self._copy(inner, block)
