"""Stable-Baselines3: a callback that guards `learn` of PPO, A2C, DQN and SAC."""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Optimizer

from agscl.extras import needing
from agscl.guard import Guard

from .attachment import Attachment

with needing("rl"):
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm


class GuardCallback(BaseCallback):
    """Attaches a guard to the algorithm's optimizers while it learns.

    Call ``guard.consolidate(batches, predict)`` after each `learn`. An epoch is one pass over what was collected: over
    a rollout (PPO, A2C), or the gradient steps between two collections (DQN, SAC).

    Protect what torch can follow: a policy of `agscl.rl.policy` with a head for each task (PPO, A2C), or
    ``model.policy.q_net.q_net`` (DQN), ``model.critic.qf0`` and the like. The last layer of a stock policy is one for
    all tasks: it goes on learning and so forgets, while what is frozen below it keeps its bits. Target networks are
    copies that no guard sees; they follow the guarded one.

    Args:
        guard: The guard.
        steps_per_epoch: Optimizer steps in an epoch, where they cannot be found; by default they are.
        same_task: Whether `learn` may go on with a task that an earlier one has trained and that is not consolidated.
    """

    def __init__(self, guard: Guard, *, steps_per_epoch: int | None = None, same_task: bool = False) -> None:
        super().__init__()
        self._attachment = Attachment(guard, same_task=same_task)
        self._given = steps_per_epoch

    def close(self) -> None:
        """Detach the guard after `learn` has failed, which the algorithm tells no callback of."""
        self._attachment.close()

    def _on_training_start(self) -> None:
        self._attachment.open(_optimizers(self.model), self._given or _steps(self.model))

    def _on_training_end(self) -> None:
        self.close()

    def _on_step(self) -> bool:
        return True


def _optimizers(algorithm: BaseAlgorithm) -> list[Optimizer]:
    """Those of the policy: one, or the actor's and the critic's."""
    parts = (algorithm.policy, getattr(algorithm, "actor", None), getattr(algorithm, "critic", None))
    optimizers = (getattr(part, "optimizer", None) for part in parts)
    return [optimizer for optimizer in optimizers if isinstance(optimizer, Optimizer)]


def _steps(algorithm: Any) -> int:
    if isinstance(algorithm, OnPolicyAlgorithm):
        collected: int = algorithm.n_steps * algorithm.n_envs
        return math.ceil(collected / getattr(algorithm, "batch_size", collected))
    if algorithm.gradient_steps > 0:
        return int(algorithm.gradient_steps)
    every = algorithm.train_freq
    if getattr(every, "unit", None) is not None and every.unit.value == "step":
        return int(every.frequency * algorithm.n_envs)
    raise ValueError(
        "gradient_steps=-1 with train_freq in episodes: how many steps an epoch has cannot be found; give "
        "GuardCallback(guard, steps_per_epoch=...)"
    )
