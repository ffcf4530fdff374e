"""PackNet: many tasks in one network by iterative pruning, Mallya and Lazebnik (CVPR 2018)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from agscl.methods.freezing import freeze, freeze_statistics
from agscl.methods.masks import all_channels, small_parameters
from agscl.methods.method import (
    Expandable,
    Learned,
    Memory,
    Network,
    RunningTask,
    Step,
    StepHooks,
    Usage,
    check_range,
    restored,
)
from agscl.methods.space import Space, Uniform
from agscl.nodes import Expansion
from agscl.nodes.surgery.replaced import replace_tensors_in_forward

from .kept import TaskTensors, require_no_ignored, tasks_in
from .weight_masks import WeightMasks, best, pack, unpack


@dataclass(frozen=True)
class PackNet:
    """Iterative pruning: each task trains all weights that are free, then gives most of them back.

    After `train_epochs` epochs of a task the smallest of every layer's free weights are set to zero and stay there,
    while the others are trained on ("retraining"). What is kept then is frozen exactly, what was pruned is free for the
    next task and begins at zero (sections 3 and 3.1). A task that ends before is pruned when it is over, without
    retraining. A task computes with its own weights and those of all tasks before it: one bit a weight and task;
    ``guard.use_task(i)`` before task i is answered. Then its outputs stay what they were, bit for bit.

    Biases and norm layers, statistics included, are frozen after the first task, as in the paper; of a head that tasks
    share each keeps its own copy.

    A loop that keeps the best weights of a task, or lowers the learning rate on a plateau, does so only while
    ``guard.settled``.

    Attributes:
        prune: Share of each layer's free weights that a task gives back (0.5 or 0.75 in the paper).
        train_epochs: Epochs of a task before it is pruned; the rest is retraining (about half as many in the paper).
    """

    name: ClassVar[str] = "packnet"
    space: ClassVar[Space] = {"prune": Uniform(0.4, 0.9)}  # 0.5 and 0.75 in the paper
    prune: float = 0.75
    train_epochs: int = 10

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_range("prune", self.prune, low=0, high=1)
        check_range("train_epochs", self.train_epochs, low=1)

    def protect(self, network: Network) -> PackedWeights:
        """A protection of the network, with nothing learned yet.

        Raises:
            ValueError: If modules of it are ignored.
        """
        require_no_ignored(network)
        return PackedWeights(self, network)


class PackedWeights(Expandable):
    """PackNet on one network. It keeps which weights each learned task computes with."""

    def __init__(self, method: PackNet, network: Network) -> None:
        self._method, self._network = method, network
        heads = network.graph.head_parameters
        self._weights = {n: p for n, p in network.common.items() if p.ndim > 1 and n not in heads}
        self._own = {name: p for name, p in network.common.items() if name in heads}
        self._masks, self._small = WeightMasks(self._weights), TaskTensors("kept")
        # Of the task in progress once it is pruned: its weights and all older ones.
        self._chosen: dict[str, Tensor] = {}
        self._epoch = 0
        replace_tensors_in_forward(network.model, [*self._weights, *self._own], self._computed, network.graph.users)

    @property
    def unsettled(self) -> bool:
        """Whether the task in progress is still to be pruned."""
        return not self._chosen

    @contextmanager
    def holding(self, task: RunningTask) -> Iterator[StepHooks]:
        """Freeze what earlier tasks compute with; prune in the middle, and hold what is pruned at zero."""
        network, taken = self._network, self._masks.taken()
        small = small_parameters(network, self._weights.keys() | self._own.keys()) if task.learned else {}
        channels = all_channels(network, task.learned) if task.learned else {}
        self._masks.hide()
        self._small.shown = {}
        self._chosen = self._chosen if task.first_step else {}
        self._epoch = task.first_step // task.steps_per_epoch
        with ExitStack() as held:
            held.enter_context(freeze_statistics(network.model, channels))
            hooks = [held.enter_context(freeze(network, task, {**taken, **small}))]

            def hold_pruned() -> None:
                pruned = {name: ~mask for name, mask in self._chosen.items()}
                hooks.append(held.enter_context(freeze(network, task, pruned)))

            def after_epoch() -> None:
                self._epoch += 1
                if self._epoch >= self._method.train_epochs and not self._chosen:
                    self._chosen = self._prune(taken)
                    hold_pruned()

            if self._chosen:
                hold_pruned()
            yield _in_turn(hooks, after_epoch)

    @torch.no_grad()
    def _prune(self, taken: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Zero the smallest free weights of each layer; returns which are left, those of earlier tasks included.

        At least one stays, as long as there are any.
        """
        left = {}
        for name, weight in self._weights.items():
            old = taken.get(name, torch.zeros_like(weight, dtype=torch.bool))
            kept = torch.zeros_like(old)
            if not old.all():
                kept[~old] = best(weight.detach()[~old].abs(), 1 - self._method.prune)
            left[name] = old | kept
            weight.masked_fill_(~left[name], 0.0)
        return left

    def finish(self, learned: Learned) -> None:
        """Prune, if that is still to be done, and keep which weights the task computes with."""
        chosen = self._chosen or self._prune(self._masks.taken())
        self._masks.keep(learned.task, chosen)
        self._small.keep(learned.task, {name: p.detach() for name, p in self._own.items()})
        self._chosen = {}

    @property
    def exact(self) -> bool:
        """Each task keeps what it computes with."""
        return True

    @property
    def by_task(self) -> bool:
        """It is: each task has a part of its own."""
        return True

    def use_task(self, task: int) -> None:
        """Answer with a learned task's weights, or go on with the current ones."""
        self._masks.show(task, self._network)
        self._small.show(task, self._network)

    def expand(self, network: Network, expansion: Expansion, learned: tuple[int, ...]) -> None:
        """New weights are free; a task in progress that is pruned already goes on without them."""
        self._small.grow(expansion.grown)
        self._chosen = {name: expansion.grown(name, mask) for name, mask in self._chosen.items()}
        self._network = network
        self._weights = {name: network.parameters[name] for name in self._weights}
        self._masks.grow(expansion, self._weights)
        self._own = {name: network.parameters[name] for name in self._own}

    def usage(self) -> Usage:
        """Weights that a learned task computes with are taken."""
        return self._masks.usage("a larger prune")

    def tensors(self) -> dict[str, Tensor]:
        """Which weights each learned task computes with, packed, its shared head, and what a pruned task has left."""
        chosen = {f"chosen.{name}": pack(mask) for name, mask in self._chosen.items()}
        return {**self._masks.tensors(), **self._small.tensors(), **chosen}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state."""
        tasks = sorted(tasks_in(tensors, "mask"))
        pruned = [name for name in self._weights if any(each.startswith("chosen.") for each in tensors)]
        chosen = {f"chosen.{n}": pack(torch.zeros_like(self._weights[n], dtype=torch.bool)) for n in pruned}
        blanks = {**self._masks.blank(tasks), **self._small.blank(tasks, self._own)}
        state = restored(tensors, {**blanks, **chosen})
        self._masks.load(state, tasks)
        self._small.load(state, tasks)
        self._chosen = {name: unpack(state[f"chosen.{name}"], self._weights[name].shape) for name in pruned}

    def memory(self) -> Memory:
        """Masks; on top each task's copy of a shared head."""
        masks = self._masks.num_bytes()
        return Memory(masks, masks + self._small.num_bytes())

    def _computed(self, name: str, module: nn.Module, own: Tensor) -> Tensor:
        """What a module computes with in the place of its own tensor; whatever is not the task's is no part of it."""
        masked = self._masks.masked(name, own)
        return self._small.in_place_of(name, module, own) if masked is None else masked


def _in_turn(hooks: Iterable[StepHooks], after_epoch: Callable[[], None]) -> StepHooks:
    """One after the other around each step, as many as there are by then."""

    def before_step(step: Step) -> None:
        for hook in hooks:
            hook.before_step(step)

    def after_step(step: Step) -> None:
        for hook in hooks:
            hook.after_step(step)

    return StepHooks(before_step, after_step, after_epoch)
