"""A policy of Stable-Baselines3 around a network with heads for many tasks."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor
from torch.distributions import Categorical

from agscl.models.actor_critic import ActorCritic, Outputs
from agscl.runs.machine import PLAIN, Machine


class MultiHeadPolicy(BasePolicy):
    """The actor and the critic of one task, for PPO, A2C and whatever else takes an actor-critic policy.

    The network is shared, not copied: make one policy (in one algorithm) for each task around the same network. The
    optimizer is fresh and holds all of the network's parameters, those a method has added included.

    Args:
        lr_schedule: Learning rate by what is left of the training.
        use_sde: Not supported; algorithms pass it.
        machine: How the network computes, which is there already.
        optimizer_kwargs: Options of the optimizer, but the learning rate.

    Raises:
        ValueError: If the actions are not discrete or not as many as the task's actor has.
    """

    def __init__(  # noqa: PLR0913 - Stable-Baselines3 passes the first four
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        use_sde: bool = False,
        *,
        network: ActorCritic,
        task: int,
        machine: Machine = PLAIN,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(observation_space, action_space)
        outputs = network.actors[task].out_features
        if use_sde or not isinstance(action_space, spaces.Discrete) or action_space.n != outputs:
            raise ValueError(f"the actor of task {task} has {outputs} discrete actions, the task has {action_space}")
        self.network, self._task, self._machine = network, task, machine
        make: Any = optimizer_class
        self.optimizer = make(network.parameters(), lr=lr_schedule(1), **(optimizer_kwargs or {}))

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Actions ``(B,)``, values ``(B, 1)`` and log-probabilities ``(B,)`` of the actions."""
        logits, values = self._outputs(obs)
        policy = Categorical(logits=logits)
        actions = logits.argmax(1) if deterministic else policy.sample()
        return actions, values, policy.log_prob(actions)

    def evaluate_actions(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values ``(B, 1)``, log-probabilities ``(B,)`` of the actions, and entropies ``(B,)``."""
        logits, values = self._outputs(obs)
        policy = Categorical(logits=logits)
        return values, policy.log_prob(actions), policy.entropy()

    def predict_values(self, obs: Tensor) -> Tensor:
        """Values of shape ``(B, 1)``."""
        return self._outputs(obs)[1]

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        assert isinstance(observation, Tensor)
        return self.forward(observation, deterministic)[0]

    def _outputs(self, obs: Tensor) -> Outputs:
        return outputs(self.network, self._task, obs, self._machine)


def outputs(network: ActorCritic, task: int, obs: Tensor, machine: Machine) -> Outputs:
    """What one task's heads say to observations ``(B, ...)``, in float32; images of bytes are scaled to [0, 1]."""
    obs = machine.lay_out(obs)
    seen = obs.float() / 255 if obs.dtype == torch.uint8 else obs.float()
    with machine.autocast():
        logits, values = network(seen, task)
    return logits.float(), values.float()
