"""Algorithms of Stable-Baselines3, guarded by the callback: what is frozen keeps its bits."""

import math
from typing import Any

import pytest
import torch
from torch import nn

import agscl

pytest.importorskip("stable_baselines3")
gymnasium = pytest.importorskip("gymnasium")

from stable_baselines3 import A2C, DQN, PPO, SAC  # noqa: E402

from agscl.integrations.stable_baselines3 import GuardCallback  # noqa: E402
from agscl.models.actor_critic import ActorCritic  # noqa: E402
from agscl.rl.policy import MultiHeadPolicy  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # the library's own advice on sizes

HARD = agscl.AGSCL(mu=0.05, lam=math.inf)
SEEN = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))


def algorithm(kind: Any, net: ActorCritic, task: int) -> Any:
    settings = {"n_steps": 32, **({"batch_size": 12, "n_epochs": 2} if kind is PPO else {})}
    policy = {"network": net, "task": task}
    env = gymnasium.make("CartPole-v1")
    return kind(MultiHeadPolicy, env, policy_kwargs=policy, device="cpu", seed=task, **settings)


@pytest.mark.parametrize(("kind", "an_epoch"), [(PPO, 3), (A2C, 1)])
def test_every_old_policy_keeps_its_bits(kind: Any, an_epoch: int) -> None:
    torch.manual_seed(0)
    net = ActorCritic(nn.Sequential(nn.Linear(4, 16), nn.ReLU()), 16, [2, 2])
    guard = agscl.protect(net, HARD, example_inputs=SEEN[:2], heads=["actors", "critics"])
    answers = []
    for task in range(2):
        callback = GuardCallback(guard)
        algorithm(kind, net, task).learn(64, callback=callback)
        assert callback._attachment.steps_per_epoch == an_epoch
        assert not guard.attached
        guard.consolidate([SEEN], lambda seen, task=task: net(seen, task)[0])
        answers.append([part.detach().clone() for part in net(SEEN, 0)])
    assert all(torch.equal(*pair) for pair in zip(*answers, strict=True))
    assert guard.verify().identical


OFF = {"learning_starts": 8, "batch_size": 8, "device": "cpu", "seed": 0, "policy_kwargs": {"net_arch": [16]}}


@pytest.mark.parametrize("kind", [DQN, SAC])
def test_what_is_frozen_in_a_stock_critic_keeps_its_bits(kind: Any) -> None:
    env = gymnasium.make("CartPole-v1" if kind is DQN else "Pendulum-v1")
    model = kind("MlpPolicy", env, train_freq=4, gradient_steps=-1, **OFF)
    net = model.policy.q_net.q_net if kind is DQN else model.critic.qf0
    guard = agscl.protect(net, HARD, example_inputs=SEEN[:2])
    frozen = torch.zeros(16, dtype=torch.bool)
    kept = []
    for _ in range(2):
        callback = GuardCallback(guard)
        model.learn(48, callback=callback)
        assert callback._attachment.steps_per_epoch == 4
        guard.consolidate([SEEN], net)
        frozen = frozen if frozen.any() else guard.importance["0"] > 0
        kept.append(net[:2](SEEN)[:, frozen].detach().clone())
    assert frozen.any()
    assert torch.equal(*kept)
    model.learn(48, callback=GuardCallback(guard))
    with pytest.raises(ValueError, match="task 2 was trained and not consolidated"):
        model.learn(48, callback=GuardCallback(guard))
    assert not guard.attached
