"""A task of reinforcement learning: a name, and environments on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from gymnasium import Env, spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

Make = Callable[[int, bool], VecEnv]
"""So many environments at once, for training or for evaluation; the caller seeds, resets and closes them."""


@dataclass(frozen=True)
class PolicyTask:
    """One task.

    Training may differ from evaluation in what helps learning (clipped rewards, a lost life as the end of an
    episode); evaluation plays whole games for the raw score.

    Attributes:
        name: For tables.
        make: Makes its environments.
    """

    name: str
    make: Make


@dataclass(frozen=True)
class Shape:
    """What a network must fit.

    Attributes:
        observation: Shape of one observation, the same for all tasks.
        num_actions: Number of actions of each task.
    """

    observation: tuple[int, ...]
    num_actions: tuple[int, ...]


def shape_of(tasks: Sequence[PolicyTask]) -> Shape:
    """Make each task's environments once and look at their spaces.

    Raises:
        ValueError: If a task has no discrete actions, or observations unlike those of the first one.
    """
    observations, num_actions = [], []
    for task in tasks:
        env = task.make(1, True)
        observation, action = env.observation_space, env.action_space
        env.close()
        if not isinstance(observation, spaces.Box) or not isinstance(action, spaces.Discrete):
            raise ValueError(
                f"task {task.name!r} has observations {observation} and actions {action}; "
                "arrays and a number of discrete actions are needed"
            )
        observations.append(observation)
        num_actions.append(int(action.n))
        first = observations[0]
        if (observation.shape, observation.dtype) != (first.shape, first.dtype):
            raise ValueError(
                f"task {task.name!r} has observations {observation}, task {tasks[0].name!r} has {first}: "
                "tasks that share a trunk need the same shape and type; wrap the environments"
            )
    return Shape(tuple(observations[0].shape), tuple(num_actions))


def require_shape(task: PolicyTask, index: int, env: VecEnv, shape: Shape) -> None:
    """Refuse environments whose spaces are not those that the network was made for, with a `ValueError`."""
    expected = f"observations {shape.observation} and {shape.num_actions[index]} actions"
    actions = env.action_space.n if isinstance(env.action_space, spaces.Discrete) else env.action_space
    found = f"observations {env.observation_space.shape} and {actions} actions"
    if found != expected:
        raise ValueError(f"the environment of task {task.name!r} changed its spaces: it had {expected}, now {found}")


def in_turn(make: Callable[[bool], Env[np.ndarray, int]], num_envs: int, training: bool) -> VecEnv:
    """Environments of gymnasium that step one after the other; right for cheap ones."""
    return DummyVecEnv([partial(make, training)] * num_envs)
