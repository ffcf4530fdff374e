"""A pixel world in NumPy: three games on a small board, with lives and different actions, for tests without Atari."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from .task import PolicyTask, in_turn

SIZE = 10
"""Height and width of the board."""

LIVES = 3
MOST_STEPS = 200

MOVES: dict[str, list[tuple[int, int]]] = {
    "catch": [(0, 0), (0, -1), (0, 1)],
    "dodge": [(0, 0), (0, -1), (0, 1), (0, -2), (0, 2)],
    "reach": [(-1, 0), (1, 0), (0, -1), (0, 1)],
}
"""By game: how far each action moves the player, in rows and columns."""


def pixel_tasks() -> list[PolicyTask]:
    """Catch what falls (3 actions), dodge what falls (5 actions), reach what stays (4 actions)."""
    return [PolicyTask(game, partial(in_turn, partial(PixelGame, game))) for game in MOVES]


class PixelGame(gymnasium.Env[np.ndarray, int]):
    """One board with a player (channel 0), a thing (channel 1) and the lives left (channel 2).

    In "catch", the player on the bottom row earns 1 for each thing that it meets and loses a life for each that it
    misses; in "dodge" it is the other way round; in "reach" it walks to the thing and earns 1, and a thing that is not
    reached in time costs a life. Without lives, or after 200 steps, the game is over.

    Args:
        game: One of the three.
        training: A lost life ends the episode, but not the game: the next episode goes on with what is left of it.
    """

    def __init__(self, game: str, training: bool) -> None:
        self.observation_space = spaces.Box(0, 255, (3, SIZE, SIZE), np.uint8)
        self.action_space = spaces.Discrete(len(MOVES[game]))  # type: ignore[assignment] # its numbers are NumPy's
        self._game, self._training = game, training
        self._lives = self._steps = self._left = 0
        self._player = self._thing = np.zeros(2, dtype=np.int64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin a game, or go on with one that a lost life has interrupted."""
        super().reset(seed=seed)
        if self._lives == 0 or seed is not None:
            self._lives, self._steps = LIVES, 0
            self._player = np.array([SIZE - 1, SIZE // 2])
            self._drop()
        return self._picture(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move the player, then the thing."""
        self._player = np.clip(self._player + MOVES[self._game][int(action)], 0, SIZE - 1)
        self._steps, self._left = self._steps + 1, self._left - 1
        if self._game != "reach":
            self._thing[0] += 1
        met, over = bool((self._player == self._thing).all()), self._left == 0
        reward = float(over and not met) if self._game == "dodge" else float(met)
        lost = met if self._game == "dodge" else over and not met
        self._lives -= int(lost)
        if met or over:
            self._drop()
        truncated = self._steps >= MOST_STEPS
        if truncated:
            self._lives = 0
        terminated = not truncated and (self._lives == 0 or (lost and self._training))
        return self._picture(), reward, terminated, truncated, {}

    def _drop(self) -> None:
        """Put a new thing on the board: at the top, or, where it stays, anywhere but on the player."""
        row = int(self.np_random.integers(SIZE)) if self._game == "reach" else 0
        self._thing = np.array([row, int(self.np_random.integers(SIZE))])
        self._left = 2 * SIZE if self._game == "reach" else SIZE - 1
        if (self._thing == self._player).all():
            self._thing[0] = (self._thing[0] + 1) % SIZE

    def _picture(self) -> np.ndarray:
        picture = np.zeros((3, SIZE, SIZE), np.uint8)
        picture[0][tuple(self._player)] = picture[1][tuple(self._thing)] = 255
        picture[2, 0, : self._lives] = 255
        return picture
