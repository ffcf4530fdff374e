"""Atari games as Stable-Baselines3 takes them, by ALE's own vector environment."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agscl.extras import require

from .games import Games
from .task import PolicyTask

EIGHT_GAMES = (
    "StarGunner",
    "Boxing",
    "VideoPinball",
    "CrazyClimber",
    "Gopher",
    "Robotank",
    "DemonAttack",
    "NameThisGame",
)
"""Jung et al. (2020), section 4.2, in their order."""

FRAMES_PER_STEP = 4
"""Frames for which every action is repeated; everything else counts agent steps."""


def atari_tasks(games: Sequence[str], *, threads: int = 1) -> list[PolicyTask]:
    """A task for each game, with its minimal set of actions.

    The semantics are those of ``NoFrameskip-v4``: no sticky actions, up to 30 no-ops at the start, 4 frames a step with
    the maximum of the last two, 84x84 grey, 4 images stacked. In training a lost life ends the episode (the game goes
    on) and rewards are clipped to their sign; in evaluation neither.

    Args:
        games: Names such as ``"StarGunner"``.
        threads: Threads on which environments step.

    Raises:
        ValueError: If ale-py is not installed, or has no such game.
    """
    roms = require("ale_py.roms", extra="rl")
    known = {_rom(name): name for name in roms.get_all_rom_ids()}
    for game in games:
        if _rom(game) not in known:
            raise ValueError(f"ale-py has no game {game!r}; names are those of ALE, such as {', '.join(EIGHT_GAMES)}")
    return [PolicyTask(game, partial(_make, known[_rom(game)], threads)) for game in games]


def _rom(name: str) -> str:
    return name.replace("_", "").lower()


def _make(rom: str, threads: int, num_envs: int, training: bool) -> VecEnv:
    return AtariGames(rom, num_envs, training=training, threads=threads)


class AtariGames(Games):
    """Games that run side by side.

    Args:
        rom: ALE's name of the game.
        num_envs: How many.
        training: A lost life ends an episode, and rewards are clipped to their sign.
        threads: On which they step.
    """

    def __init__(self, rom: str, num_envs: int, *, training: bool, threads: int = 1) -> None:
        from ale_py.vector_env import AtariVectorEnv
        from gymnasium.vector import AutoresetMode

        self._training = training
        self._games = AtariVectorEnv(
            rom,
            num_envs,
            num_threads=threads,
            frameskip=FRAMES_PER_STEP,
            repeat_action_probability=0.0,
            episodic_life=False,  # this would begin a new game with every life
            life_loss_info=training,
            reward_clipping=False,
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
        super().__init__(num_envs, self._games.single_observation_space, self._games.single_action_space)

    def reset(self) -> VecEnvObs:
        """Begin new games."""
        seeds = None if self._seeds[0] is None else np.array(self._seeds)
        observations, _ = self._games.reset(seed=seeds)
        self._reset_seeds()
        begun: VecEnvObs = observations
        return begun

    def play(self, actions: np.ndarray) -> VecEnvStepReturn:
        """Play a step."""
        observations, rewards, terminated, truncated, info = self._games.step(actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index in np.flatnonzero(terminated | truncated):
            infos[index] = {
                "terminal_observation": info["final_obs"][index],
                "TimeLimit.truncated": bool(truncated[index] and not terminated[index]),
            }
        gained = np.sign(rewards) if self._training else rewards
        return observations, gained.astype(np.float32), terminated | truncated, infos

    def close(self) -> None:
        """End all games."""
        self._games.close()
