"""The steps of an optimizer while a task is learned: a protection's hooks are called around each of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from agscl.methods.method import Network, RunningTask, Step, StepHooks
from agscl.processes import average, differences, together


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
    network: Network, task: RunningTask, hooks: StepHooks, progress: Progress, added: Collection[str]
) -> Iterator[None]:
    """Call a protection's hooks around every step of a task's optimizer, and count the steps in `progress`.

    Args:
        network: The network.
        task: The task that is learned.
        hooks: The protection's hooks.
        progress: Counts the steps.
        added: Names of parameters that the method has added to the model. In many processes, their gradients are
            averaged here if the loop does not: its wrapper may be older than they are.
    """
    steps = _GuardedSteps(network, task, hooks, progress, added)
    handles = [
        task.optimizer.register_step_pre_hook(steps.before),
        task.optimizer.register_step_post_hook(steps.after),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _GuardedSteps:
    def __init__(
        self, network: Network, task: RunningTask, hooks: StepHooks, progress: Progress, added: Collection[str]
    ) -> None:
        self._network, self._task, self._hooks, self._progress = network, task, hooks, progress
        self._added, self._apart, self._fresh = added, list[str](), True
        self._optimizer = task.optimizer
        names = {id(p): name for name, p in network.parameters.items()}
        held = [p for group in task.optimizer.param_groups for p in group["params"]]
        self._held = [(names.get(id(p), "a parameter outside the model"), p) for p in held]

    def before(
        self, optimizer: object, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Work on the gradients now, or after the closure has made them."""
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self._prepare()
            return None

        def prepared() -> Any:
            loss = closure()
            self._prepare()
            return loss

        return (args[0], prepared, *args[2:]), {k: v for k, v in kwargs.items() if k != "closure"}

    @torch.no_grad()
    def after(self, optimizer: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Work on the weights, unless the step was skipped."""
        if self._overflown():
            return
        self._hooks.after_step(self._step())
        self._progress.steps += 1
        if self._progress.steps % self._task.steps_per_epoch == 0:
            self._hooks.after_epoch()

    @torch.no_grad()
    def _prepare(self) -> None:
        if self._overflown():
            return
        if self._fresh:
            with together("the first step"):
                self._check_first()
            self._fresh = False
        if self._apart:
            average(grad for name in self._apart if (grad := self._network.parameters[name].grad) is not None)
        self._check_finite()
        self._check_reached()
        self._hooks.before_step(self._step())

    def _check_first(self) -> None:
        """At the first step: the gradients are those of this task, and the same in all processes."""
        graph, task, parameters = self._network.graph, self._task.task, self._network.parameters
        grads = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
        apart = differences("the first step", grads)
        if local := [name for name, values in apart.items() if name not in self._added or "missing" in values]:
            raise ValueError(
                f"the gradient of {local[0]!r} differs between the processes: they train apart; compute the loss with "
                "DistributedDataParallel(model), or average the gradients before each step"
            )
        self._apart = list(apart)
        if self._progress.steps == 0 and graph.num_tasks is not None:
            with_grads = {t: graph.own_heads([t]) & grads.keys() for t in range(graph.num_tasks)}
            reached = [t for t, names in with_grads.items() if any(grads[name].any() for name in names)]
            if task not in reached:
                raise ValueError(f"no gradient reached the head of task {task}{_why_not(reached, self._task.learned)}")

    def _step(self) -> Step:
        """A gradient scaler lets a fused optimizer divide by the scale itself, inside its step."""
        scale = getattr(self._optimizer, "grad_scale", None)
        return Step(self._progress.steps) if scale is None else Step(self._progress.steps, scale)

    def _overflown(self) -> bool:
        """Whether a gradient scaler has told a fused optimizer to skip this step."""
        found = getattr(self._optimizer, "found_inf", None)
        return found is not None and bool(found)

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

    def _check_finite(self) -> None:
        grads = [(name, p.grad) for name, p in self._held if p.grad is not None]
        if not grads or (grads[0][1].device.type != "cpu" and self._progress.steps % self._task.steps_per_epoch):
            return  # off the CPU the answer would make the host wait, so it is asked for once an epoch
        norms = torch._foreach_norm([grad for _, grad in grads])
        if not torch.stack(norms).sum().isfinite():
            name = next((name for name, grad in grads if not grad.isfinite().all()), grads[0][0])
            raise Diverged(f"the gradient of {name!r} is not finite at step {self._progress.steps}; {self._cause()}")

    def _cause(self) -> str:
        """What to look at when a gradient is not finite, and what to do."""
        if odd := [name for name, weight in self._held if not weight.isfinite().all()]:
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
