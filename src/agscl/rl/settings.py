"""How each task is learned with PPO, and how often and how long it is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class PPOTraining:
    """Proximal policy optimisation, Schulman et al. (2017), by Stable-Baselines3.

    One step is one action of one environment: on Atari four frames of the game. The learning rate falls linearly to 0
    within each task; each task begins with a fresh Adam.

    >>> training = PPOTraining(steps=1000, num_envs=8, rollout=16, batch_size=64)
    >>> training.updates, training.steps_per_task, training.steps_per_epoch
    (8, 1024, 2)

    Attributes:
        steps: Agent steps for each task; rounded up to whole rollouts.
        num_envs: Environments at once.
        rollout: Steps of each environment between two updates.
        epochs: Passes over a rollout.
        batch_size: Steps in a batch.
        learning_rate: At the start of each task.
        gamma: Discount of the next step's value.
        gae_lambda: Of the generalised advantage estimate.
        clip: How far the probability ratio may move.
        value_clip: How far a value may move; `None` does not clip.
        value_coef: Weight of the squared error of the values.
        entropy_coef: Weight of the entropy of the policy.
        max_grad_norm: Longest gradient.
        evaluations: Evaluations while a task is learned, evenly spaced, its end included.
        evaluated: Evaluate tasks learned so far and the present one, or all of the sequence.
        episodes: Episodes of an evaluation; every episode that is begun counts.
        max_episode: Agent steps after which an evaluated episode is cut off; its score so far counts, and the record
            says how many were cut.
        importance_steps: Agent steps played with the finished policy, on which importance is measured.
    """

    steps: int
    num_envs: int = 8
    rollout: int = 128
    epochs: int = 4
    batch_size: int = 256
    learning_rate: float = 3e-4
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    value_clip: float | None = None
    value_coef: float = 0.5
    entropy_coef: float = 0.0
    max_grad_norm: float = 0.5
    evaluations: int = 1
    evaluated: Literal["learned", "all"] = "all"
    episodes: int = 5
    max_episode: int = 3000
    importance_steps: int = 2048

    def __post_init__(self) -> None:
        names = ("steps", "num_envs", "rollout", "epochs", "batch_size", "evaluations", "episodes", "max_episode")
        for name in (*names, "importance_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "clip", "max_grad_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if self.batch_size < 2 or self.steps_per_update % self.batch_size:  # noqa: PLR2004
            raise ValueError(
                f"batch_size must be above 1 and divide num_envs * rollout = {self.steps_per_update}, "
                f"got {self.batch_size}"
            )
        if self.evaluated not in ("learned", "all"):
            raise ValueError(f"evaluated must be 'learned' or 'all', not {self.evaluated!r}")

    @property
    def steps_per_update(self) -> int:
        """Agent steps between two updates."""
        return self.num_envs * self.rollout

    @property
    def updates(self) -> int:
        """Updates for each task."""
        return -(-self.steps // self.steps_per_update)

    @property
    def steps_per_task(self) -> int:
        """Agent steps for each task, in whole rollouts."""
        return self.updates * self.steps_per_update

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over a rollout."""
        return self.steps_per_update // self.batch_size

    def evaluates_after(self, update: int) -> bool:
        """Whether an evaluation is due after the n-th update of a task, its end aside."""
        return update * self.evaluations // self.updates > (update - 1) * self.evaluations // self.updates
