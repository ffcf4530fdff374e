"""Avalanche: a plugin that guards a strategy, and the head of each sample's task."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from agscl.extras import needing
from agscl.guard import Guard

from .attachment import Attachment, steps_in_epoch

with needing("avalanche"):
    from avalanche.models import MultiTaskModule
    from avalanche.training.plugins import SupervisedPlugin


class HeadSelector(MultiTaskModule):  # type: ignore[misc] # the library has no types
    """Answers each sample with the head of its task: what strategies call, around a plain model with a list of heads.

    Args:
        model: Gives a list of outputs, one for each task label; the guard protects it.

    >>> class Net(nn.Module):
    ...     def forward(self, x):
    ...         return [x, x[:, :1]]
    >>> HeadSelector(Net())(torch.ones(2, 2), torch.tensor([0, 1]))
    tensor([[1., 1.],
            [1., -inf]])
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def adaptation(self, experience: Any) -> None:
        """Change nothing: the model has its heads already."""

    def forward(self, x: Tensor, task_labels: Tensor | int) -> Tensor:
        """Logits of each sample's task.

        Args:
            x: Samples, ``(B, ...)``.
            task_labels: One for all of them, or one each, ``(B,)``.

        Returns:
            Logits ``(B, classes)``; where tasks have different numbers of classes, those that one lacks are ``-inf``.
        """
        outputs = self.model(x)
        labels = [int(task_labels)] if isinstance(task_labels, int) else task_labels.unique().tolist()
        if len(labels) == 1:
            alone: Tensor = outputs[labels[0]]
            return alone
        width = max(outputs[label].shape[1] for label in labels)
        logits: Tensor = outputs[labels[0]].new_full((len(x), width), -torch.inf)
        for label in labels:
            own = outputs[label]
            chosen = (torch.as_tensor(task_labels, device=own.device) == label)[:, None]
            wide = nn.functional.pad(own, (0, width - own.shape[1]), value=-torch.inf)
            logits = torch.where(chosen, wide, logits)
        return logits


class GuardPlugin(SupervisedPlugin):  # type: ignore[misc] # the library has no types
    """Attaches a guard while a strategy trains an experience, and has it answer for the task that is evaluated.

    Call ``guard.consolidate(loader, predict)`` after each `strategy.train`, with a loader of your own: the strategy
    drops its own. A model with a head for each task learns the task that the experience is labelled with.

    Between experiences `Guard.save` keeps weights and guard; where a strategy is pickled (`save_checkpoint`), the guard
    goes with it as `GuardPlugin.guard`.

    Args:
        guard: Guards the strategy's model, or a module within it, such as the one in a `HeadSelector`.
        same_task: Whether `train` may go on with a task that an earlier one has trained and that is not consolidated.
    """

    def __init__(self, guard: Guard, *, same_task: bool = False) -> None:
        super().__init__()
        self.guard = guard
        self._attachment = Attachment(guard, same_task=same_task)
        self._begins, self._next = False, guard.task

    def before_training_exp(self, strategy: Any, *_: Any, **__: Any) -> None:
        """An experience begins; other plugins may still replace its data."""
        self._begins = True

    def before_training_epoch(self, strategy: Any, *_: Any, **__: Any) -> None:
        """Attach the guard before the first epoch of an experience.

        Raises:
            ValueError: If the experience's task is learned already, or the guard does not fit.
        """
        steps = steps_in_epoch(len(strategy.dataloader), 1, -1)
        if self._begins:
            self._attachment.close()
            if self.guard.graph.num_tasks is not None:
                self._use_label(strategy.experience)
            self._attachment.open(strategy.optimizer, steps)
            self._begins = False
        elif steps != self._attachment.steps_per_epoch:
            raise ValueError(
                f"an epoch had {self._attachment.steps_per_epoch} steps and has {steps} now; keep them equal"
            )

    def after_training_exp(self, strategy: Any, *_: Any, **__: Any) -> None:
        """Detach it."""
        self.close()

    def close(self) -> None:
        """Detach the guard after `train` has failed, which the strategy tells no plugin of."""
        self._attachment.close()

    def before_eval(self, strategy: Any, *_: Any, **__: Any) -> None:
        """Remember which task is next."""
        self._next = self.guard.task

    def before_eval_exp(self, strategy: Any, *_: Any, **__: Any) -> None:
        """Answer for the task of the experience, if it is learned.

        Raises:
            ValueError: If that cannot be, since another one is being learned.
        """
        label = _label(strategy.experience)
        if label is None or not self.guard.by_task or label not in self.guard.learned:
            return
        if self.guard.attached:
            raise ValueError(
                f"task {label} cannot be answered while task {self.guard.task} is learned: the method gives each task "
                "a part of its own; evaluate after training (eval_every=-1)"
            )
        self.guard.use_task(label)

    def after_eval(self, strategy: Any, *_: Any, **__: Any) -> None:
        """Get ready for the next task again."""
        if self.guard.by_task and not self.guard.attached:
            self.guard.use_task(self._next)

    def _use_label(self, experience: Any) -> None:
        label = _label(experience)
        if label in self.guard.learned:
            raise ValueError(
                f"experience {experience.current_experience} has task label {label}, which is learned already: label "
                "each experience (a task-incremental benchmark), or give the model one head for all"
            )
        if label is not None and label != self.guard.task:
            self.guard.use_task(label)


def _label(experience: Any) -> int | None:
    """The task label of all samples of an experience; `None` if they have none.

    Raises:
        ValueError: If they have several.
    """
    labels = {*(getattr(experience, "task_labels", ()) or getattr(experience.dataset, "targets_task_labels", ()))}
    if len(labels) > 1:
        raise ValueError(f"an experience has samples of the tasks {sorted(labels)}; a guard learns one task at a time")
    return int(labels.pop()) if labels else None
