"""Training on the active sub-network: inactive nodes cost no arithmetic, frozen ones no backward pass.

Within the context the model's forward gathers the active parts of the dense parameters and computes with these alone;
autograd brings the gradients back to their places. Optimizer, guard and checkpoints see the dense model, and get what
a dense step would give them, up to the order of summation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.optim import Optimizer

from agscl.methods.freezing import stays_at_zero
from agscl.methods.inner_forward import InnerForward, computing_with
from agscl.methods.method import Network, Protection, RunningTask
from agscl.nodes import Slice, removable
from agscl.nodes.layers import kind_of
from agscl.nodes.slices import mark
from agscl.nodes.surgery.compact import Nodes, cut_out, kept_positions, part
from agscl.nodes.surgery.copies import plain_copy, random_inputs
from agscl.nodes.surgery.reach import all_zero, sealed_nodes, zero_readings
from agscl.nodes.surgery.replaced import has_replaced_tensors

from .sparse_backward import is_sparable, spared
from .steps import Progress

_RELU_MODULES = (nn.ReLU, nn.ReLU6)
_RELU_FUNCTIONS = {F.relu, F.relu6, F.relu_, torch.relu, torch.relu_, "relu", "relu_"}


class ActiveNodes:
    """Which nodes a guarded model computes with, from one task to the next, saved and loaded states included."""

    def __init__(self) -> None:
        self._loaded: Nodes = {}
        self._network: ActiveNetwork | None = None

    @contextmanager
    def computing(
        self, network: Network, task: RunningTask, protection: Protection, progress: Progress, *, live: bool
    ) -> Iterator[None]:
        """Let the model compute with its active nodes only, or with all.

        Args:
            network: The network.
            task: The task that is learned.
            protection: Says which nodes stay zero, and which are frozen.
            progress: Counts the steps.
            live: Whether inactive nodes are left out.

        Raises:
            ValueError: If a module inside the model has hooks, which would see other shapes.
        """
        if not live:
            self._loaded = {}
            yield
            return
        self._network, self._loaded = ActiveNetwork(network, task, protection, progress, self._loaded), {}
        try:
            with self._network.computing():
                yield
        finally:
            self._network = None

    def tensors(self) -> dict[str, Tensor]:
        """Inactive nodes by layer, to be saved."""
        return {} if self._network is None else dict(self._network.inactive)

    def load(self, tensors: Nodes) -> None:
        """Take a saved state, for the next task that is learned."""
        self._loaded = tensors


class ActiveNetwork:
    """A model that computes with its active nodes only, within a context.

    What is active is looked up at the first forward pass, after every epoch, and after a state dict was loaded.

    Args:
        network: The network.
        task: The task to be learned.
        protection: Says which nodes nothing but the task's gradient and the optimizer moves, and which nothing moves.
        progress: Counts the steps.
        interrupted: What `inactive` gave when the epoch was interrupted: the rest of it goes on with the same nodes.

    Raises:
        ValueError: If a module inside the model has hooks, which would see other shapes, or it has a residual stream.
    """

    def __init__(
        self, network: Network, task: RunningTask, protection: Protection, progress: Progress, interrupted: Nodes
    ) -> None:
        if network.graph.streams:
            raise ValueError(
                f"live=True is not for a model with a residual stream ({network.graph.streams[0].name!r}); "
                "attach without it"
            )
        if has_replaced_tensors(network.model):
            raise ValueError(
                "live=True is not for a method that masks or gates weights in the forward, which computes with all of "
                "them; attach without it"
            )
        for name, module in network.model.named_modules():
            if callable(own := vars(module).get("forward")) and not isinstance(own, InnerForward):
                raise ValueError(
                    f"{name or 'the model'!r} has a forward set on it, which the active sub-network would leave out; "
                    "attach without live=True"
                )
            if name and (module._forward_hooks or module._forward_pre_hooks):
                raise ValueError(
                    f"{name!r} has forward hooks, which would see the shapes of the active sub-network; "
                    "remove them while a task is learned, or attach without live=True"
                )
        self._network, self._task, self._progress = network, task, progress
        self._unpenalised, self._frozen = protection.unpenalised_nodes(), protection.frozen_nodes()
        self._signature = inspect.signature(network.model.forward)
        self._epoch: int | None = None  # that in which it was last looked up what is active
        self._small: _Small | None = None
        self._interrupted, self._inactive = interrupted, interrupted

    @property
    def stale(self) -> bool:
        """Whether what is active is to be looked up at the next forward pass."""
        return self._epoch != self._progress.steps // self._task.steps_per_epoch

    def look_anew(self) -> None:
        """Look up what is active at the next forward pass."""
        self._epoch = None

    @property
    def inactive(self) -> Nodes:
        """Nodes found inactive, as long as that holds; empty when it is to be looked up anew."""
        return {} if self.stale else self._inactive

    @property
    def dropped(self) -> Nodes:
        """Nodes that the model does without at the moment; empty while it computes with all."""
        return {} if self._small is None else self._small.dropped

    @contextmanager
    def computing(self) -> Iterator[None]:
        """The model computes so within the context."""
        model = self._network.model
        handle = model.register_load_state_dict_post_hook(partial(_look_anew, self))
        try:
            with computing_with(model, self):
                yield
        finally:
            handle.remove()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy of the model computes with all of its own nodes: this network and its optimizers are not its."""
        return partial, (_with_all_nodes,)

    def __call__(
        self, module: nn.Module, plain: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What the model computes, with its active nodes only where it can; a replica of it computes with all."""
        if module is not self._network.model:
            return plain(*args, **kwargs)
        if self.stale and self._network.model.training:
            device = next(iter(self._network.parameters.values())).device
            with torch.autocast(device.type, enabled=False):
                self._look(self._signature.bind(*args, **kwargs).args)
        wants_gradient = any(isinstance(value, Tensor) and value.requires_grad for value in (*args, *kwargs.values()))
        if self.stale or self._small is None or wants_gradient:
            return plain(*args, **kwargs)
        return self._small(*args, **kwargs)

    @torch.no_grad()
    def _look(self, args: tuple[Any, ...]) -> None:
        """Find out what is active now."""
        network = self._network
        generator = torch.Generator().manual_seed(0)
        inputs = random_inputs(tuple(value[:2] if isinstance(value, Tensor) else value for value in args), generator)
        inactive = self._interrupted
        if not inactive and self._unpenalised:
            found = inactive_nodes(network, self._task.optimizers, inputs)
            inactive = {name: found[name] & nodes for name, nodes in self._unpenalised.items()}
        self._interrupted, self._inactive = {}, inactive
        frozen = sealed_nodes(network.graph, network.parameters, self._frozen) if self._frozen else {}
        if self._small is None or not self._small.fits(inactive):
            drop = removable(network.model, network.graph, inactive, inputs) if _any(inactive) else {}
            worth = _any(drop) or _any(frozen)
            self._small = _Small(network, drop, frozen, inactive) if worth else None
        self._epoch = self._progress.steps // self._task.steps_per_epoch


def _with_all_nodes(module: nn.Module, plain: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return plain(*args, **kwargs)


def _look_anew(active: object, *_: Any) -> None:
    """A state was loaded. The hook of a copy of the model holds what stands for the network there."""
    if isinstance(active, ActiveNetwork):
        active.look_anew()


class _Small:
    """A model without the dropped nodes that computes with parts of the dense tensors."""

    def __init__(self, network: Network, drop: Nodes, frozen: Nodes, inactive: Nodes) -> None:
        self._network, self._inactive, self.dropped = network, inactive, drop
        self._kept = kept_positions(network.graph, drop, network.state)
        self._model = cut_out(network.model, self._kept)
        self._names = [name for name, _ in (*self._model.named_parameters(), *self._model.named_buffers())]
        self._pairs = list(zip(network.model.modules(), self._model.modules(), strict=True))
        layers = [layer for layer in network.graph.layers if layer.name in frozen]
        pieces = ((piece, frozen[layer.name]) for layer in layers for piece in layer.incoming + layer.outgoing)
        held = mark(pieces, network.state)
        for name, module in network.model.named_modules():
            small, weight = self._model.get_submodule(name), f"{name}.weight"
            kept = self._kept.get(weight, {})
            if (on_all_channels := kind_of(module).on_all_channels) is not None:
                channels = (kept or self._kept.get(f"{name}.running_mean", {})).get(0)
                small.forward = partial(on_all_channels, module, channels)
            elif is_sparable(module):
                masks = [~held[weight, dim][kept.get(dim, ...)] if (weight, dim) in held else None for dim in (0, 1)]
                free = [None if mask is None or mask.all() else mask.nonzero().flatten() for mask in masks]
                if any(positions is not None for positions in free):
                    small.forward = spared(small, *free)

    def fits(self, inactive: Nodes) -> bool:
        """Whether this was made for these nodes."""
        return all(torch.equal(nodes, self._inactive[name]) for name, nodes in inactive.items())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for module, small in self._pairs:
            small.training = module.training
        state = self._network.state
        tensors = {name: part(state[name], self._kept.get(name, {})) for name in self._names}
        return functional_call(self._model, tensors, args, kwargs)


def inactive_nodes(network: Network, optimizers: tuple[Optimizer, ...], inputs: tuple[Any, ...]) -> dict[str, Tensor]:
    """Nodes that are exactly zero and stay so: nothing comes in, no gradient arrives, no optimizer moves them.

    No gradient arrives where a ReLU's output is read, which has slope zero at zero, or where nothing reads the node.

    Returns:
        By layer, bool, shape ``(num_nodes,)``.
    """
    silent = zero_readings(plain_copy(network.model), network.graph, (inputs, {}))
    sources: Any = network.graph.probe.output_node().args[0]
    state = network.state
    momentum: dict[str, Tensor] = {}  # the largest magnitude in the optimizers' memory of past gradients, if any
    for name, parameter in network.parameters.items():
        memories = [optimizer.state.get(parameter, {}) for optimizer in optimizers]
        kept = [tensor for memory in memories for tensor in memory.values() if isinstance(tensor, Tensor)]
        if like := [tensor.abs() for tensor in kept if tensor.shape == parameter.shape and tensor.ndim]:
            momentum[name] = torch.stack(like).amax(dim=0)

    def still(slices: Sequence[Slice]) -> Tensor:
        moving = [piece for piece in slices if piece.parameter in momentum]
        zero = all_zero(slices, state)
        return zero & all_zero(moving, momentum) if moving else zero

    inactive = {}
    for layer in network.graph.layers:
        nodes = silent[layer.name] & still(layer.incoming) & all(map(stays_at_zero, optimizers))
        behind_relu = bool(layer.readings) and all(
            _is_relu(network.model, sources[reading.output]) for reading in layer.readings
        )
        inactive[layer.name] = nodes if behind_relu else nodes & still(layer.outgoing)
    return inactive


def _is_relu(model: nn.Module, operation: fx.Node) -> bool:
    if operation.op == "call_module":
        return isinstance(model.get_submodule(str(operation.target)), _RELU_MODULES)
    return operation.target in _RELU_FUNCTIONS


def _any(nodes: Nodes) -> bool:
    return any(bool(chosen.any()) for chosen in nodes.values())
