"""Hugging Face: a callback that guards `transformers.Trainer`; with accelerate a guard needs no bridge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.optim import Optimizer
from torch.utils.data import DataLoader

from agscl.extras import needing
from agscl.guard import Guard, read_state, write_state

from .attachment import Attachment, steps_in_epoch

with needing("huggingface"):
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, has_length

STATE = "guard.safetensors"
"""The guard's state, in the folder of a checkpoint."""


class GuardCallback(TrainerCallback):
    """Attaches a guard to every `Trainer.train`, and keeps its state in the trainer's checkpoints.

    Call ``guard.consolidate(trainer.get_train_dataloader(), predict)`` after each `train`. How many steps an epoch has
    is found: accumulated gradients, a last partial batch, `max_steps` and several processes included. With
    ``train(resume_from_checkpoint=...)`` training goes on as if nothing had come between.

    A loop on accelerate needs no bridge: `Guard.attach` takes the prepared optimizer, with
    ``steps_per_epoch=math.ceil(len(loader) / accelerator.gradient_accumulation_steps)`` for the prepared loader, and
    ``accelerator.register_for_checkpointing(guard)`` keeps its state in ``save_state`` and ``load_state``.

    Args:
        guard: Guards the trainer's model, or a module within it.
        steps_per_epoch: Optimizer steps in an epoch, if they should be others than those that are found.
        same_task: Whether `train` may go on with a task that an earlier one has trained and that is not consolidated.
        checkpoint: Folder of the checkpoint that training goes on from; by default ``checkpoint-STEP`` in the trainer's
            `output_dir`.

    >>> import agscl, tempfile, torch, transformers
    >>> class WithLoss(torch.nn.Module):
    ...     def __init__(self, net):
    ...         super().__init__()
    ...         self.net = net
    ...     def forward(self, x, labels):
    ...         return {"loss": torch.nn.functional.cross_entropy(self.net(x), labels)}
    >>> net, x = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)), torch.randn(4, 2)
    >>> guard = agscl.protect(net, agscl.AGSCL(mu=1, lam=10), example_inputs=x)
    >>> quiet = {"report_to": [], "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     trainer = transformers.Trainer(
    ...         WithLoss(net), transformers.TrainingArguments(folder, num_train_epochs=1, use_cpu=True, **quiet),
    ...         train_dataset=[{"x": row, "labels": 1} for row in x], callbacks=[GuardCallback(guard)])
    ...     trained = trainer.train().global_step
    {...}
    >>> guard.consolidate(trainer.get_train_dataloader(), predict=lambda batch: net(batch["x"]))
    >>> trained, guard.task
    (1, 1)
    """

    def __init__(
        self,
        guard: Guard,
        *,
        steps_per_epoch: int | None = None,
        same_task: bool = False,
        checkpoint: str | Path | None = None,
    ) -> None:
        self._attachment = Attachment(guard, same_task=same_task)
        self._given, self._checkpoint = steps_per_epoch, checkpoint

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        optimizer: Optimizer | None = None,
        train_dataloader: DataLoader[Any] | None = None,
        **_: Any,
    ) -> None:
        """Attach the guard to the optimizer; first take over its state where training goes on.

        Raises:
            ValueError: If there is no state for the checkpoint, or the guard does not fit.
        """
        if state.global_step > 0:
            self._resume(args, state)
        batches = (
            len(train_dataloader) if train_dataloader is not None and has_length(train_dataloader) else float("inf")
        )
        found = steps_in_epoch(batches, args.gradient_accumulation_steps, state.max_steps)
        self._attachment.open(optimizer, self._given or found)
        if args.load_best_model_at_end and not self._attachment.guard.settled:
            self.close()
            raise ValueError(
                "load_best_model_at_end may bring back weights from before the method has cut what a task does not "
                "need; turn it off for this method"
            )

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Put the guard's state into the checkpoint that was just written."""
        if args.should_save and self._attachment.is_open:
            write_state(_folder(args, state) / STATE, self._attachment.guard.state_dict())

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Detach it, after the trainer has loaded the best weights, if it was told to."""
        self.close()

    def close(self) -> None:
        """Detach the guard after `train` has failed, which the trainer tells no callback of."""
        self._attachment.close()

    def _resume(self, args: TrainingArguments, state: TrainerState) -> None:
        folder = _folder(args, state) if self._checkpoint is None else Path(self._checkpoint)
        if not (folder / STATE).is_file():
            raise ValueError(
                f"training goes on at step {state.global_step}, and {folder} has no state of the guard ({STATE}): give "
                "GuardCallback(guard, checkpoint=...) the folder of the checkpoint, or take one that has it"
            )
        self.close()
        self._attachment.guard.load_state_dict(read_state(folder / STATE))


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir or ".") / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
