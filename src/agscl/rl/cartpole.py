"""Three ways to see the same pole: CartPole-v1 plain, with signs turned, and with its four numbers in another order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import gymnasium
import numpy as np
from gymnasium import Env
from gymnasium.wrappers import TransformObservation

from .task import PolicyTask, in_turn

VARIANTS: dict[str, tuple[float, Sequence[int]]] = {
    "plain": (1.0, (0, 1, 2, 3)),
    "mirrored": (-1.0, (0, 1, 2, 3)),
    "permuted": (1.0, (2, 3, 0, 1)),
}
"""By name: the sign of the observation, and where its numbers come from."""


def cartpole_tasks() -> list[PolicyTask]:
    """The three variants; each has 4 numbers to see, 2 actions, and at most 500 steps worth 1 each."""
    return [PolicyTask(name, partial(in_turn, partial(_pole, *variant))) for name, variant in VARIANTS.items()]


def _pole(sign: float, order: Sequence[int], training: bool) -> Env[np.ndarray, int]:
    def seen(observation: np.ndarray) -> np.ndarray:
        turned: np.ndarray = (sign * observation[list(order)]).astype(np.float32)
        return turned

    space = gymnasium.spaces.Box(-np.inf, np.inf, (len(order),), np.float32)
    return TransformObservation(gymnasium.make("CartPole-v1"), seen, space)
