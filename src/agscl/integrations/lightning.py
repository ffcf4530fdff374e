"""Lightning: a callback that guards `Trainer.fit`."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from agscl.extras import needing
from agscl.guard import Guard

from .attachment import Attachment, steps_in_epoch

with needing("lightning"):
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.trainer.states import TrainerFn


class GuardCallback(Callback):
    """Attaches a guard to every `fit`, and keeps its state in Lightning's checkpoints.

    Call ``guard.consolidate(loader, predict)`` after each `fit`. How many steps an epoch has is found: accumulated
    gradients, a last partial batch, `limit_train_batches`, `max_steps` and several devices included. With
    ``fit(ckpt_path=...)`` training goes on as if nothing had come between.

    Args:
        guard: Guards a module within the `LightningModule`, or all of it.
        steps_per_epoch: Optimizer steps in an epoch, where they cannot be found (manual optimization, data without a
            length); by default they are.
        same_task: Whether `fit` may go on with a task that an earlier one has trained and that is not consolidated.

    >>> import agscl, lightning, torch, warnings
    >>> class Lit(lightning.LightningModule):
    ...     def __init__(self, net):
    ...         super().__init__()
    ...         self.net = net
    ...     def training_step(self, batch):
    ...         return self.net(batch).square().mean()
    ...     def configure_optimizers(self):
    ...         return torch.optim.SGD(self.net.parameters(), lr=0.1)
    >>> net, x = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)), torch.randn(4, 2)
    >>> guard = agscl.protect(net, agscl.AGSCL(mu=1, lam=10), example_inputs=x)
    >>> quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    >>> trainer = lightning.Trainer(max_epochs=1, callbacks=[GuardCallback(guard)], enable_checkpointing=False, **quiet)
    >>> loader = torch.utils.data.DataLoader(x, batch_size=2)
    >>> with warnings.catch_warnings(action="ignore"):
    ...     trainer.fit(Lit(net), loader)
    >>> guard.consolidate(loader, predict=net)
    >>> guard.task
    1
    """

    def __init__(self, guard: Guard, *, steps_per_epoch: int | None = None, same_task: bool = False) -> None:
        self._attachment = Attachment(guard, same_task=same_task)
        self._given = steps_per_epoch

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attach the guard to all optimizers."""
        self._attachment.open(trainer.optimizers, self._steps(trainer, pl_module))

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Refuse to go on if epochs differ in length."""
        before, now = self._attachment.steps_per_epoch, self._steps(trainer, pl_module)
        measures_statistics = trainer.fit_loop._skip_backward  # the last epoch of StochasticWeightAveraging
        if now != before and not measures_statistics:
            raise ValueError(
                f"an epoch had {before} steps and has {now} now (gradients accumulated by a schedule, or another "
                "loader); keep them equal, or give GuardCallback(guard, steps_per_epoch=...)"
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Detach it, after all other callbacks have ended (averages of weights are copied in until then)."""
        self._attachment.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Detach it when training fails."""
        self._attachment.close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Detach it when training is left in another way."""
        self._attachment.close()

    def state_dict(self) -> dict[str, Any]:
        """The guard's state, for a checkpoint."""
        return dict(self._attachment.guard.state_dict())

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take over the guard's state where training goes on; evaluation with older weights leaves it alone.

        Raises:
            ValueError: If the checkpoint has none, or it belongs to another guard.
        """
        if trainer.state.fn != TrainerFn.FITTING:
            return
        state = checkpoint["callbacks"].get(self.state_key)
        if state is None:
            raise ValueError(
                "the checkpoint has no state of the guard: it was saved by a trainer without GuardCallback; begin "
                "without ckpt_path"
            )
        self._attachment.close()
        self._attachment.guard.load_state_dict(state)

    def _steps(self, trainer: Trainer, module: LightningModule) -> int:
        if self._given is not None:
            return self._given
        if not module.automatic_optimization:
            raise ValueError(
                "the module steps its optimizers by hand (automatic_optimization=False), so how many steps an epoch "
                "has cannot be found; give GuardCallback(guard, steps_per_epoch=...)"
            )
        return steps_in_epoch(trainer.num_training_batches, trainer.accumulate_grad_batches, trainer.max_steps)
