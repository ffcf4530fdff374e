"""Evaluation: whole episodes for their raw score, all that are begun, from the same starts every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from agscl.runs.random import derived_seed

from .task import PolicyTask, Shape, require_shape

Act = Callable[[np.ndarray], np.ndarray]
"""Maps observations to actions."""


@dataclass(frozen=True)
class Episodes:
    """How a number of episodes went.

    Attributes:
        scores: Sum of the raw rewards of each.
        capped: How many were cut off.
    """

    scores: tuple[float, ...]
    capped: int


@dataclass(frozen=True)
class EvaluationProtocol:
    """How many episodes are played, and how long.

    Attributes:
        episodes: How many; each is begun at once with the others and counts, so that short ones are not favoured.
        max_episode: Agent steps after which an episode is cut off.
        seed: Of the run; the starts follow from it and the task, so that an unchanged policy scores the same.
        shape: What the tasks must look like.
    """

    episodes: int
    max_episode: int
    seed: int
    shape: Shape

    def play(self, task: PolicyTask, index: int, act: Act) -> Episodes:
        """Play the task of a number; a `ValueError` if its environments changed their spaces."""
        env = task.make(self.episodes, False)
        try:
            require_shape(task, index, env, self.shape)
            env.seed(derived_seed(self.seed, index, "evaluation"))
            seen = env.reset()
            scores, running = np.zeros(env.num_envs), np.ones(env.num_envs, dtype=bool)
            for _ in range(self.max_episode):
                assert isinstance(seen, np.ndarray)
                seen, rewards, done, _ = env.step(act(seen))
                scores += np.where(running, rewards, 0)
                running &= ~done
                if not running.any():
                    break
            return Episodes(tuple(scores.tolist()), int(running.sum()))
        finally:
            env.close()

    def play_at_random(self, task: PolicyTask, index: int) -> Episodes:
        """Play with uniformly random actions: the score that costs no learning."""
        generator, actions = np.random.default_rng(derived_seed(self.seed, index, "random")), self.shape.num_actions
        return self.play(task, index, lambda seen: generator.integers(actions[index], size=len(seen)))
