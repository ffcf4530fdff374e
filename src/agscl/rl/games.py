"""Games that run side by side in one object: what Stable-Baselines3 asks of single ones, and a state to go on from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn
from torch import Tensor


class Games(VecEnv):
    """Many games that step as one; single ones have nothing to get, set or call."""

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions of the next step."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Play the step."""
        return self.play(self._actions)

    @abstractmethod
    def play(self, actions: np.ndarray) -> VecEnvStepReturn:
        """Play a step; games that are over begin anew at once."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """`None` for each as ``render_mode``: games are not drawn; an `AttributeError` for all else."""
        if attr_name != "render_mode":
            raise AttributeError(f"games have no attribute {attr_name!r}")
        return [None] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Always an `AttributeError`: games have nothing to set."""
        raise AttributeError(f"games have no attribute {attr_name!r} to set")

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Always an `AttributeError`: games have no methods to call."""
        raise AttributeError(f"games have no method {method_name!r}")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """No game is wrapped."""
        return [False] * len(list(self._get_indices(indices)))


class ResumableGames(Games):
    """Games whose state can be kept, so that a run that was broken off goes on in the middle of an episode."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """All that it takes to go on exactly."""

    @abstractmethod
    def load(self, state: Mapping[str, Tensor]) -> np.ndarray:
        """Go on from a state, in place of `reset`; the observations there. A `ValueError` if it does not fit."""
