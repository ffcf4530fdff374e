"""The five games of MinAtar as Stable-Baselines3 takes them: many at once, in one process and one batch.

Young and Tian (2019), arXiv:1903.03176: games on boards of 10x10 squares, after five of Atari's. The rules are the
package's own; what is here hands them actions, collects the boards, and can keep and restore a game.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch import Tensor

from agscl.extras import require
from agscl.tensors import text_tensor

from .games import ResumableGames
from .task import PolicyTask

FIVE_GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
"""All of them, by the package's names and in its order."""

CHANNELS, SIZE, ACTIONS = 10, 10, 6
"""Of every board: Seaquest's ten channels, which others fill up with empty ones; and the six actions of all games."""

STICKY = 0.1
"""Probability that a game takes the last action again, in training and evaluation: the package's default."""

NOT_STATE = {"random", "channels", "action_map"}
"""Attributes of a game that are kept in another way, or never change."""

Rules = Callable[[], Any]
"""Makes a game: the package's class, difficulty ramping as it is by default."""


def minatar_tasks(games: Sequence[str] = FIVE_GAMES) -> list[PolicyTask]:
    """A task for each game, with boards of 10 channels and 6 actions for all.

    Sticky actions (0.1) and difficulty that rises as the game goes on are the package's defaults. Rewards are raw, and
    an episode is a whole game, in training as in evaluation.

    Args:
        games: Names such as ``"breakout"``.

    Raises:
        ValueError: If minatar is not installed, or has no such game.
    """
    for game in games:
        if game not in FIVE_GAMES:
            raise ValueError(f"MinAtar has no game {game!r}; its games are {', '.join(FIVE_GAMES)}")
    return [PolicyTask(game, partial(_make, _rules(game))) for game in games]


def _make(rules: Rules, num_envs: int, training: bool) -> VecEnv:
    return MinAtarGames(rules, num_envs)


def _rules(game: str) -> Rules:
    """The class of a game, from its file: the package as a whole loads what it draws with, or warns that it cannot."""
    package: ModuleSpec = find_spec("minatar") or require("minatar", extra="rl").__spec__
    assert package.origin is not None
    path = Path(package.origin).parent / "environments" / f"{game}.py"
    spec = spec_from_file_location(f"minatar.environments.{game}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    rules: Rules = module.Env
    return rules


class MinAtarGames(ResumableGames):
    """Games that run side by side.

    Observations are boards ``(channels, rows, columns)`` of bits. Each game has a generator of its own, and what one of
    them does is what ``minatar.Environment`` does with that seed.

    Args:
        rules: Makes a game.
        num_envs: How many.
    """

    def __init__(self, rules: Rules, num_envs: int) -> None:
        self._games = [rules() for _ in range(num_envs)]
        self._last = [0] * num_envs  # as in the package, the end of a game changes nothing about it
        self._boards = np.zeros((num_envs, SIZE, SIZE, CHANNELS), dtype=np.bool_)
        super().__init__(num_envs, spaces.Box(0, 1, (CHANNELS, SIZE, SIZE), np.bool_), spaces.Discrete(ACTIONS))

    def reset(self) -> np.ndarray:
        """Begin new games."""
        for index, game in enumerate(self._games):
            if self._seeds[index] is not None:
                game.random = np.random.RandomState(self._seeds[index])
            game.reset()
        self._last = [0] * self.num_envs
        self._reset_seeds()
        return self._seen()

    def play(self, actions: np.ndarray) -> VecEnvStepReturn:
        """Play a step."""
        rewards, done = np.zeros(self.num_envs, dtype=np.float32), np.zeros(self.num_envs, dtype=np.bool_)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index, (game, action) in enumerate(zip(self._games, actions.tolist(), strict=True)):
            if game.random.rand() >= STICKY:
                self._last[index] = action
            rewards[index], over = game.act(self._last[index])
            if over:
                done[index] = True
                infos[index] = {"terminal_observation": self._board(index).copy(), "TimeLimit.truncated": False}
                game.reset()
        return self._seen(), rewards, done, infos

    def _board(self, index: int) -> np.ndarray:
        board = self._games[index].state()
        whole: np.ndarray = self._boards[index]
        whole[:, :, : board.shape[2]] = board
        return whole.transpose(2, 0, 1)

    def _seen(self) -> np.ndarray:
        """All boards, laid out in memory with their channels last, as convolutions like them."""
        for index in range(self.num_envs):
            self._board(index)
        return self._boards.copy().transpose(0, 3, 1, 2)

    def state(self) -> dict[str, Tensor]:
        """All that it takes to go on exactly: the games, their generators, and their last actions."""
        generators = [game.random.get_state(legacy=False)["state"] for game in self._games]
        numbers = np.array([[*state["key"], state["pos"]] for state in generators], dtype=np.int64)
        games = [{name: vars(game)[name] for name in vars(game).keys() - NOT_STATE} for game in self._games]
        return {
            "games": text_tensor(json.dumps(games, sort_keys=True, default=lambda value: value.tolist())),
            "generators": torch.from_numpy(numbers),
            "last": torch.tensor(self._last),
        }

    def load(self, state: Mapping[str, Tensor]) -> np.ndarray:
        """Go on from a state, in place of `reset`; the boards there.

        Raises:
            ValueError: If it is not one of so many games of this kind.
        """
        games = json.loads(bytes(state["games"].tolist()))
        fits = len(games) == self.num_envs == len(state["generators"]) == len(state["last"])
        if not fits or any(saved.keys() != vars(game).keys() - NOT_STATE for saved, game in self._pairs(games)):
            raise ValueError("the checkpoint does not fit the run, choose a new folder: it has other games")
        for saved, game in self._pairs(games):
            for name, value in saved.items():
                before = vars(game)[name]
                vars(game)[name] = np.array(value, before.dtype) if isinstance(before, np.ndarray) else value
        for (*key, position), game in self._pairs(state["generators"].tolist()):
            game.random.set_state(("MT19937", np.array(key, dtype=np.uint32), position))
        self._last = state["last"].tolist()
        return self._seen()

    def _pairs(self, values: Sequence[Any]) -> list[tuple[Any, Any]]:
        return list(zip(values, self._games, strict=True))

    def close(self) -> None:
        """Nothing is left open."""
