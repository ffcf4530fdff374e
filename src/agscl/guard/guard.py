"""The guard: hooks a method into any optimizer, and so protects any training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from agscl.methods.method import Learned, Method, Network, Predict, Step, Training
from agscl.nodes import NodeGraph, expand, trace
from agscl.nodes.surgery.expand import Retrace
from agscl.nodes.tracing.trace import Rules, eval_mode

from .live import LiveNetwork


class Diverged(ValueError):  # noqa: N818 - what happened, to training and not to the program
    """A loss, gradient or weight became infinite or not a number."""


def protect(
    model: nn.Module,
    method: Method,
    *,
    example_inputs: Any,
    heads: str | Iterable[str] | None = None,
    rules: Rules | None = None,
    ignore: Iterable[str] = (),
) -> Guard:
    """Protect a model from forgetting.

    Args:
        model: Any module that `agscl.nodes.tracing.trace` can follow; compiled ones are taken as what they compile.
        method: Such as ``agscl.AGSCL(mu=10, lam=400)``.
        example_inputs: A batch for ``model(*example_inputs)``; two samples do.
        heads: Names of the modules that make the outputs; a list or dict holds one head per task, in order.
        rules: Tracing rules of your own, by module type or function.
        ignore: Names of modules to leave out of the protection.

    Raises:
        TraceError: If the model has an operation without a rule.
        ValueError: If the inputs, heads or hyper-parameters do not fit the model.
    """
    model = getattr(model, "_orig_mod", model)
    names = heads if isinstance(heads, str | None) else tuple(heads)
    retrace = partial(trace, example_inputs=example_inputs, heads=names, rules=rules, ignore=tuple(ignore))
    return Guard(_network(model, retrace(model)), method, retrace)


def _network(model: nn.Module, graph: NodeGraph) -> Network:
    return Network(model, graph, dict(model.named_parameters()), dict(model.named_buffers()))


class Guard:
    """Keeps one network from forgetting while it learns task after task.

    Use `protect` to make one. For each task: train inside `attach`, then call `consolidate`.
    """

    def __init__(self, network: Network, method: Method, retrace: Retrace) -> None:
        self._retrace = retrace
        self._live: LiveNetwork | None = None
        self._resting: Mapping[str, Tensor] | None = None
        self._protection = method.protect(network)
        self._network = _network(network.model, network.graph)  # a method may have added gates to the model
        self._learned: list[int] = []
        self._task = 0
        self._steps = 0
        self._resumed = False
        self._attached = False

    @property
    def graph(self) -> NodeGraph:
        """The model's nodes."""
        return self._network.graph

    @property
    def task(self) -> int:
        """Number of the current task, from 0."""
        return self._task

    @property
    def importance(self) -> dict[str, Tensor]:
        """Importance of every node by layer, each of shape ``(num_nodes,)``; empty for weight-wise methods."""
        return self._protection.importance()

    def memory_bytes(self, *, regularization_only: bool = False) -> int:
        """Bytes that the method keeps between tasks.

        Args:
            regularization_only: Count the regularization parameters alone, as figure 6(a) of the paper does.
        """
        memory = self._protection.memory()
        return memory.regularization if regularization_only else memory.total

    def use_task(self, task: int) -> None:
        """Make a task the current one; after `consolidate` the next unlearned one is current by itself.

        Raises:
            ValueError: If there is no such task, or a task is being learned.
        """
        if self._attached:
            raise ValueError("cannot change the task while the guard is attached")
        most = self.graph.num_tasks
        if task < 0 or (most is not None and task >= most):
            raise ValueError(f"there is no task {task}: the model has heads for {most} tasks, numbered from 0")
        self._protection.use_task(task)
        self._task = task

    @contextmanager
    def attach(self, optimizer: Optimizer, *, steps_per_epoch: int, live: bool = False) -> Iterator[None]:
        """Guard all steps of an optimizer while the current task is learned.

        Args:
            optimizer: Any torch optimizer that holds the model's parameters.
            steps_per_epoch: Optimizer steps (not batches, if gradients are accumulated) in an epoch.
            live: Let the model compute with its live nodes only: dead nodes cost no arithmetic and frozen ones no
                backward pass. Results are those of the whole model up to the order of summation; dropout draws
                other masks.

        Raises:
            ValueError: If something does not fit; nothing is changed then.
        """
        self._check_attachable(optimizer, steps_per_epoch)
        first = self._steps if self._resumed else 0
        training = Training(optimizer, self._task, tuple(self._learned), steps_per_epoch, first)
        self._protection.begin(training)
        self._attached, self._steps, self._resumed = True, first, False
        hooks = _Hooks(self, optimizer, steps_per_epoch)
        try:
            with hooks, self._computing_live(training) if live else nullcontext():
                yield
        finally:
            self._attached = False
            self._protection.end()

    def consolidate(self, batches: Iterable[Any], predict: Predict) -> None:
        """End the current task: measure what it needs, free the rest, and move on to the next task.

        The model is in eval mode meanwhile; afterwards its mode is as before.

        Args:
            batches: The task's training data.
            predict: Maps a batch to the model's outputs for this task.

        Raises:
            ValueError: If nothing was learned, there is no data, or the model was changed; nothing is changed then.
        """
        if self._attached:
            raise ValueError("consolidate after the attach() block, not inside it")
        if self._steps == 0:
            raise ValueError("nothing was learned yet: train inside attach() before consolidate()")
        self._check_model()
        with eval_mode(self._network.model), torch.no_grad(), torch.compiler.set_stance("force_eager"):
            self._protection.finish(Learned((*self._learned, self._task), batches, predict))
        self._learned.append(self._task)
        self._steps = 0
        while self._task in self._learned:
            self._task += 1

    def expand(self, *, layer: str, nodes: int) -> None:
        """Add free nodes to a layer whose capacity runs out; all outputs of the model keep their bits.

        The model is changed in place and its parameters are replaced, so make a new optimizer. A saved state fits a
        model that was expanded alike.

        Args:
            layer: Name of the layer, see ``print(guard.graph)``.
            nodes: How many nodes to add.

        Raises:
            ValueError: If the layer cannot grow or the method cannot take new nodes; nothing is changed then.
        """
        if self._attached:
            raise ValueError("expand after the attach() block, not inside it")
        self._check_model()
        self._protection.require_expandable(tuple(self._learned))
        expansion = expand(self._network.model, self.graph, layer, nodes, self._retrace)
        self._network = _network(self._network.model, expansion.graph)
        self._protection.expand(self._network, expansion, tuple(self._learned))

    def penalty(self) -> Tensor | None:
        """Present value of the method's penalty, for a log; `None` for methods without one.

        It is never part of the loss: its gradient is added before each step.
        """
        return self._protection.penalty()

    @property
    def has_extra_loss(self) -> bool:
        """Whether the method needs `extra_loss` added to the loss now."""
        return self._protection.has_extra_loss

    def extra_loss(self, batch: Any, forward: Callable[[Any], Any]) -> Tensor | None:
        """A loss term that the loop adds itself, for the few methods that need one; `None` for the others.

        Args:
            batch: The batch at hand.
            forward: Maps it to the outputs of all heads.
        """
        return self._protection.extra_loss(batch, forward)

    def state_dict(self) -> dict[str, Tensor]:
        """All that the guard knows, as tensors by name; the model's weights are not in it."""
        own = {"task": torch.tensor(self._task), "steps": torch.tensor(self._steps)}
        learned = torch.tensor(self._learned, dtype=torch.int64)
        method = {f"method.{name}": tensor.clone() for name, tensor in self._protection.tensors().items()}
        live = {} if self._live is None else self._live.resting
        return {**own, "learned": learned, **method, **{f"live.{name}": mask.clone() for name, mask in live.items()}}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over a saved state; load the model's weights that belong to it as well.

        A state saved inside `attach` goes on in the middle of the epoch at the next `attach`.

        Raises:
            ValueError: If the state belongs to another model or method; nothing is changed then.
        """
        if self._attached:
            raise ValueError("cannot load a state while the guard is attached")
        if missing := {"task", "steps", "learned"} - state.keys():
            raise ValueError(f"this is no state of a guard: {min(missing)!r} is missing")
        prefix = "method."
        self._protection.load({n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)})
        self._task, self._steps = int(state["task"]), int(state["steps"])
        self._learned = state["learned"].tolist()
        self._resumed = self._steps > 0
        self._resting = {n.removeprefix("live."): t for n, t in state.items() if n.startswith("live.")}

    @contextmanager
    def _computing_live(self, training: Training) -> Iterator[None]:
        """Let the model compute with its live nodes only."""
        resting, self._resting = self._resting, None
        left_alone, frozen = self._protection.left_alone(), self._protection.frozen()
        self._live = LiveNetwork(self._network, training, left_alone, frozen, resting)
        try:
            with self._live:
                yield
        finally:
            self._live = None

    def _check_attachable(self, optimizer: Optimizer, steps_per_epoch: int) -> None:
        if self._attached:
            raise ValueError("the guard is attached already; leave the first attach() block before the second")
        if steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch must be at least 1, not {steps_per_epoch}: is the loader empty?")
        if self._task in self._learned and self.graph.num_tasks is not None:
            raise ValueError(f"task {self._task} is learned already; call use_task() with a new one")
        if self.graph.num_tasks is not None and self._task >= self.graph.num_tasks:
            raise ValueError(f"task {self._task} has no head: the model has heads for {self.graph.num_tasks} tasks")
        self._check_model()
        self._check_holds(optimizer)

    def _check_model(self) -> None:
        found = dict(self._network.model.named_parameters())
        expected = self._network.parameters
        for name in sorted(found.keys() | expected.keys()):
            if found.get(name) is not expected.get(name):
                raise ValueError(
                    f"the model was changed after protect(): {name!r} was added, removed or replaced; "
                    "protect the changed model anew, or change weights in place"
                )

    def _check_holds(self, optimizer: Optimizer) -> None:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for layer in self.graph.layers:
            for piece in layer.incoming:
                parameter = self._network.parameters[piece.parameter]
                if parameter.requires_grad and id(parameter) not in held:
                    raise ValueError(
                        f"the optimizer does not hold {piece.parameter!r}; give it model.parameters(), or take the "
                        "parameter out of training with requires_grad_(False)"
                    )

    def _before(self, step: Step) -> None:
        if self._steps == 0:
            self._check_head()
        self._protection.before_step(step)

    def _after(self, step: Step, steps_per_epoch: int) -> None:
        self._protection.after_step(step)
        self._steps += 1
        if self._steps % steps_per_epoch == 0:
            self._protection.after_epoch()

    def _check_head(self) -> None:
        """The first gradients must reach the head of the current task."""
        if self.graph.num_tasks is None:
            return
        grads = [self._network.parameters[name].grad for name in self.graph.own_heads([self._task])]
        if not any(grad is not None and grad.any() for grad in grads):
            raise ValueError(
                f"no gradient reached the head of task {self._task}; if another task is learned here, "
                "call use_task() with its number first"
            )


class _Hooks:
    """The guard's hooks on one optimizer, as a context."""

    def __init__(self, guard: Guard, optimizer: Optimizer, steps_per_epoch: int) -> None:
        self._guard, self._optimizer, self._steps_per_epoch = guard, optimizer, steps_per_epoch
        names = {id(p): name for name, p in guard._network.parameters.items()}
        held = [p for group in optimizer.param_groups for p in group["params"]]
        self._held = [(names.get(id(p), "a parameter outside the model"), p) for p in held]

    def __enter__(self) -> None:
        self._handles = [
            self._optimizer.register_step_pre_hook(self._before),
            self._optimizer.register_step_post_hook(self._after),
        ]

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _before(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Work on the gradients now, or after the closure has made them."""
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self._prepare()
            return None
        return (args[0], self._wrapped(closure), *args[2:]), {k: v for k, v in kwargs.items() if k != "closure"}

    def _wrapped(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def wrapped() -> Any:
            loss = closure()
            self._prepare()
            return loss

        return wrapped

    @torch.no_grad()
    def _prepare(self) -> None:
        if not self._overflown():
            self._check_finite()
            self._guard._before(self._step())

    @torch.no_grad()
    def _after(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._overflown():
            self._guard._after(self._step(), self._steps_per_epoch)

    def _step(self) -> Step:
        """A gradient scaler lets a fused optimizer divide by the scale itself, inside its step."""
        scale = getattr(self._optimizer, "grad_scale", None)
        return Step(self._guard._steps) if scale is None else Step(self._guard._steps, scale)

    def _overflown(self) -> bool:
        """Whether a gradient scaler has told a fused optimizer to skip this step."""
        found = getattr(self._optimizer, "found_inf", None)
        return found is not None and bool(found)

    def _check_finite(self) -> None:
        grads = [(name, p.grad) for name, p in self._held if p.grad is not None]
        if not grads or (grads[0][1].device.type != "cpu" and self._guard._steps % self._steps_per_epoch):
            return  # off the CPU the answer would make the host wait, so it is asked for once an epoch
        norms = torch._foreach_norm([grad for _, grad in grads])
        if not torch.stack(norms).sum().isfinite():
            name = next((name for name, grad in grads if not grad.isfinite().all()), grads[0][0])
            raise Diverged(
                f"the gradient of {name!r} is not finite at step {self._guard._steps}; "
                "lower the learning rate or clip the gradients"
            )
