"""The steps of an optimizer while a task is learned: a protection's hooks are called around each of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from agscl.methods.method import Network, RunningTask, Step, StepHooks
from agscl.processes import average, differences, together

from .optimizers import has_hooks, parameters_of


class Diverged(ValueError):  # noqa: N818 - what happened, to training and not to the program
    """A loss, gradient or weight became infinite or not a number."""


@dataclass
class Progress:
    """How far a network has learned its tasks.

    Attributes:
        task: Number of the current task, from 0.
        steps: Optimizer steps of it that were taken.
        learned: Numbers of the tasks learned, in their order.
        resumed: Whether the current task goes on after these steps, since they come from a saved state.
    """

    task: int = 0
    steps: int = 0
    learned: list[int] = field(default_factory=list)
    resumed: bool = False

    @classmethod
    def of(cls, state: Mapping[str, torch.Tensor], most: int | None) -> Progress:
        """The progress in a guard's saved state.

        Args:
            state: The state.
            most: For how many tasks the model has heads; `None` if all share one.

        Raises:
            ValueError: If it is none, or a task that was learned or begun has no head.
        """
        if missing := {"task", "steps", "learned"} - state.keys():
            raise ValueError(f"this is no state of a guard: {min(missing)!r} is missing")
        numbers = [state["task"], state["steps"], *state["learned"].flatten()]
        if any(each.numel() != 1 or each.is_floating_point() or each < 0 for each in numbers):
            raise ValueError("the state is damaged: its tasks are not numbers from 0")
        task, steps, *learned = (int(each) for each in numbers)
        progress = cls(task, steps, learned, resumed=steps > 0)
        if most is not None and (odd := [each for each in progress.begun if each >= most]):
            raise ValueError(
                f"the state does not belong to this guard: task {odd[0]} is learned there, and the model has heads for "
                f"{most} tasks"
            )
        return progress

    @property
    def begun(self) -> list[int]:
        """Numbers of the tasks that are learned or begun."""
        return [*self.learned, *([self.task] if self.steps else [])]


@contextmanager
def guarded_steps(
    network: Network,
    task: RunningTask,
    hooks: StepHooks,
    progress: Progress,
    added: Collection[str],
    wrappers: Iterable[Optimizer] = (),
) -> Iterator[None]:
    """Call a protection's hooks around every step of a task's optimizers, and count the steps in `progress`.

    Args:
        network: The network.
        task: The task that is learned.
        hooks: What the protection does around a step.
        progress: Counts the steps.
        added: Names of parameters that the method has added to the model. In many processes, their gradients are
            averaged here if the loop does not: its wrapper may be older than they are.
        wrappers: Optimizers around those of the task: what comes after a step waits until their steps, too, are over.
    """
    steps = _GuardedSteps(network, task, hooks, progress, added)
    handles: list[RemovableHandle] = []
    for optimizer in task.optimizers:
        handles += _hooked(optimizer, partial(steps.before, optimizer), partial(steps.after, optimizer))
    for wrapper in filter(has_hooks, wrappers):
        handles += _hooked(wrapper, partial(steps.enter, wrapper), partial(steps.leave, wrapper))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        steps.settle()
        steps.end_round()


def _hooked(optimizer: Optimizer, before: Any, after: Any) -> Iterator[RemovableHandle]:
    yield optimizer.register_step_pre_hook(lambda _, args, kwargs: before(args, kwargs))
    yield optimizer.register_step_post_hook(lambda *_: after())


class _GuardedSteps:
    """The hooks of all optimizers.

    A step of one is settled when its wrappers, if it has any, are through. A round is a step of each; it is over when
    all have stepped, or when one is about to step again.
    """

    def __init__(
        self, network: Network, task: RunningTask, hooks: StepHooks, progress: Progress, added: Collection[str]
    ) -> None:
        self._network, self._task, self._hooks, self._progress = network, task, hooks, progress
        self._added, self._apart = added, dict[int, list[str]]()  # by optimizer, once it has stepped
        self._names = {id(p): name for name, p in network.parameters.items()}
        self._inside: set[int] = set()  # wrappers whose step has begun
        self._unsettled: Step | None = None
        self._stepped: set[int] = set()

    def enter(self, wrapper: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A wrapper's step begins."""
        self._inside.add(id(wrapper))

    def leave(self, wrapper: Optimizer) -> None:
        """A wrapper's step is over."""
        self._inside.discard(id(wrapper))
        if not self._inside:
            self.settle()

    def before(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Work on the gradients now, or after the closure has made them."""
        self.settle()
        if id(optimizer) in self._stepped:
            self.end_round()
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self._prepare(optimizer)
            return None

        def prepared() -> Any:
            loss = closure()
            self._prepare(optimizer)
            return loss

        return (args[0], prepared, *args[2:]), {k: v for k, v in kwargs.items() if k != "closure"}

    def after(self, optimizer: Optimizer) -> None:
        """Work on the weights, unless the step was skipped."""
        if _overflown(optimizer):
            return
        self._unsettled = self._step(optimizer)
        self._stepped.add(id(optimizer))
        if not self._inside:
            self.settle()

    @torch.no_grad()
    def settle(self) -> None:
        """Work on the weights after a step of one optimizer."""
        if self._unsettled is None:
            return
        step, self._unsettled = self._unsettled, None
        self._hooks.after_step(step)
        if len(self._stepped) == len(self._task.optimizers):
            self.end_round()

    @torch.no_grad()
    def end_round(self) -> None:
        """Count a step, and work on the weights once all optimizers have taken it."""
        if not self._stepped:
            return
        self._stepped.clear()
        self._hooks.after_all(Step(self._progress.steps))
        self._progress.steps += 1
        if self._progress.steps % self._task.steps_per_epoch == 0:
            self._hooks.after_epoch()

    @torch.no_grad()
    def _prepare(self, optimizer: Optimizer) -> None:
        if _overflown(optimizer):
            return
        held = {id(p) for p in parameters_of(optimizer)}
        with self._alone(held):
            if id(optimizer) not in self._apart:
                with together("the first step"):
                    self._check_first(optimizer)
            if apart := self._apart[id(optimizer)]:
                average(grad for name in apart if (grad := self._network.parameters[name].grad) is not None)
            self._check_finite([p for p in parameters_of(optimizer) if p.grad is not None])
            self._check_reached()
            self._hooks.before_step(self._step(optimizer))

    @contextmanager
    def _alone(self, held: set[int]) -> Iterator[None]:
        """With several optimizers, the gradients of one's parameters alone are in sight."""
        parameters = self._network.parameters.values() if len(self._task.optimizers) > 1 else ()
        others = [(p, p.grad) for p in parameters if id(p) not in held]
        for parameter, _ in others:
            parameter.grad = None
        try:
            yield
        finally:
            for parameter, grad in others:
                parameter.grad = grad

    def _check_first(self, optimizer: Optimizer) -> None:
        """At an optimizer's first step: its gradients are those of this task, and the same in all processes."""
        graph, task, parameters = self._network.graph, self._task.task, self._network.parameters
        grads = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
        apart = differences("the first step", grads)
        if local := [name for name, values in apart.items() if name not in self._added or "missing" in values]:
            raise ValueError(
                f"the gradient of {local[0]!r} differs between the processes: they train apart; compute the loss with "
                "DistributedDataParallel(model), or average the gradients before each step"
            )
        elsewhere = {id(p) for o in self._task.optimizers if o is not optimizer for p in parameters_of(o)}
        own = [name for name in graph.own_heads([task]) if id(parameters[name]) not in elsewhere]
        own = [name for name in own if parameters[name].requires_grad]  # the user may have frozen the head
        if self._progress.steps == 0 and own and not any(grads[name].any() for name in own if name in grads):
            with_grads = {t: graph.own_heads([t]) & grads.keys() for t in range(graph.num_tasks or 0)}
            reached = [t for t, names in with_grads.items() if any(grads[name].any() for name in names)]
            raise ValueError(f"no gradient reached the head of task {task}{_why_not(reached, self._task.learned)}")
        self._apart[id(optimizer)] = list(apart)

    def _step(self, optimizer: Optimizer) -> Step:
        """A gradient scaler lets a fused optimizer divide by the scale itself, inside its step."""
        scale = getattr(optimizer, "grad_scale", None)
        return Step(self._progress.steps) if scale is None else Step(self._progress.steps, scale)

    def _check_reached(self) -> None:
        """Refuse to train what the traced forward never uses: nobody knows whom it belongs to."""
        for name in self._network.graph.unreached:
            grad = self._network.parameters[name].grad
            if grad is not None and grad.any():
                raise ValueError(
                    f"a gradient reached {name!r}, which the forward did not use on the example inputs: it belongs "
                    "to no node; protect with example inputs that use it, leave its module out (ignore=...), or call "
                    "requires_grad_(False) on it"
                )

    def _check_finite(self, held: list[nn.Parameter]) -> None:
        grads = [(p, p.grad) for p in held if p.grad is not None]
        if not grads or (grads[0][1].device.type != "cpu" and self._progress.steps % self._task.steps_per_epoch):
            return  # off the CPU the answer would make the host wait, so it is asked for once an epoch
        norms = torch._foreach_norm([grad for _, grad in grads])
        if not torch.stack(norms).sum().isfinite():
            odd = next((p for p, grad in grads if not grad.isfinite().all()), grads[0][0])
            raise Diverged(
                f"the gradient of {self._name(odd)!r} is not finite at step {self._progress.steps}; {self._cause(held)}"
            )

    def _name(self, parameter: nn.Parameter) -> str:
        return self._names.get(id(parameter), "a parameter outside the model")

    def _cause(self, held: list[nn.Parameter]) -> str:
        """What to look at when a gradient is not finite, and what to do."""
        if odd := [self._name(weight) for weight in held if not weight.isfinite().all()]:
            return f"the weight {odd[0]!r} is not finite either: go back to finite weights and lower the learning rate"
        if self._progress.steps == 0:
            return "all weights are finite, and this is the first step: is there NaN or infinity in the data?"
        return "is there NaN or infinity in the data? If not, lower the learning rate or clip the gradients"


def _why_not(reached: list[int], learned: tuple[int, ...]) -> str:
    """What may be wrong if the head of the task that is learned gets no gradient, but those of other tasks do."""
    if not reached:
        return ", nor any other: the loss depends on no output; are all labels ignored, or is the batch empty?"
    other = reached[0]
    if learned:
        return f", but that of task {other}; if that is learned here, call use_task() with its number first"
    return (
        f", but that of task {other}, and this guard has learned nothing; if the model has learned before, load the "
        "guard's state that belongs to its weights first (guard.load() or load_state_dict()), or they will be lost; "
        f"if task {other} is really the first, call use_task({other})"
    )


def _overflown(optimizer: Optimizer) -> bool:
    """Whether a gradient scaler has told a fused optimizer to skip this step."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)
