"""PPO on one thread: steps a second on MinAtar; what AGS-CL costs and bfloat16 saves on images of Atari's size."""

import copy
import statistics
from collections.abc import Callable

import numpy as np
import pytest
import torch
from gymnasium import Env, spaces
from ratios import ratio, say, seconds
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

import agscl
from agscl.experiments.policies.presets import POLICY_PRESETS
from agscl.models.actor_critic import NATURE, ActorCritic, PixelTrunk
from agscl.rl.learn import task_ppo
from agscl.rl.learner import PolicyLearner, guarded
from agscl.rl.minatar import FIVE_GAMES
from agscl.rl.settings import PPOTraining
from agscl.rl.task import PolicyTask, Shape, shape_of
from agscl.runs.machine import Compute, Machine

SHAPE = Shape((4, 84, 84), (18,) * 2)
TRAINING = PPOTraining(steps=256, num_envs=8, rollout=32, batch_size=256)


class Noise(Env[np.ndarray, int]):
    """Images that cost nothing, so that what is timed is PPO alone."""

    observation_space = spaces.Box(0, 255, SHAPE.observation, np.uint8)
    action_space = spaces.Discrete(SHAPE.num_actions[0])
    picture = np.random.default_rng(0).integers(0, 256, SHAPE.observation, dtype=np.uint8)

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[np.ndarray, dict[str, object]]:
        return self.picture, {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
        return self.picture, float(action == 0), False, False, {}


def noise(num_envs: int, training: bool) -> DummyVecEnv:
    return DummyVecEnv([Noise] * num_envs)


def learner(method: agscl.methods.Method) -> PolicyLearner:
    """After one task, half of whose nodes died."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = ActorCritic(PixelTrunk(SHAPE.observation, NATURE, 512), 512, SHAPE.num_actions)
    made = PolicyLearner([PolicyTask("noise", noise)] * 2, SHAPE, network, guarded(network, method, SHAPE), TRAINING, 0)
    ppo = task_ppo(made, noise(8, True), 0)
    with made.guard.attach(ppo.policy.optimizer, steps_per_epoch=TRAINING.steps_per_epoch):
        ppo.learn(256)
    seen = torch.rand(64, *SHAPE.observation)
    made.guard.consolidate([seen], lambda batch: network(batch, 0)[0])
    return made


def updates(ppo: PPO) -> Callable[[], object]:
    """One rollout and the updates on it."""
    return lambda: ppo.learn(256, reset_num_timesteps=False)


def test_ppo_with_ags_cl_against_plain_ppo() -> None:
    guarded_learner = learner(agscl.AGSCL(mu=0.1, lam=1000.0))
    plain = copy.deepcopy(guarded_learner.model)
    own = task_ppo(guarded_learner, noise(8, True), 1)
    other = task_ppo(PolicyLearner(**{**vars(guarded_learner), "model": plain}), noise(8, True), 1)
    with guarded_learner.guard.attach(own.policy.optimizer, steps_per_epoch=TRAINING.steps_per_epoch):
        measured = 1 / ratio(updates(own), updates(other), 7)
    say(f"\nagent steps a second of PPO with AGS-CL / of plain PPO: {measured:.3f} (at least 0.95)")
    assert measured >= 0.95


def test_bfloat16_against_float32() -> None:
    if not torch.cpu.get_capabilities().get("avx512_bf16"):
        pytest.skip("this CPU has no arithmetic in bfloat16")
    exact = learner(agscl.FineTuning())
    rough = PolicyLearner(**{**vars(exact), "machine": Machine(dtype=torch.bfloat16)})
    own, other = (task_ppo(each, noise(8, True), 1) for each in (rough, exact))
    measured = 1 / ratio(updates(own), updates(other), 5)
    say(f"\nagent steps a second in bfloat16 / in float32: {measured:.2f} (at least 1.4)")
    assert measured >= 1.4


@pytest.mark.parametrize("method", ["fine-tuning", "ags-cl"])
@pytest.mark.parametrize("game", FIVE_GAMES)
def test_agent_steps_a_second_on_minatar(game: str, method: str) -> None:
    torch.set_num_threads(1)
    preset = POLICY_PRESETS["minatar5"]
    training, tasks = preset.training, [task for task in preset.tasks() if task.name == game] * 2
    shape = shape_of(tasks)
    network = preset.network(shape)
    guard, machine = guarded(network, preset.tuned[method], shape), Compute().resolve(network)
    games = PolicyLearner(tasks, shape, network, guard, training, 0, machine=machine)
    for task in range(2):  # the second is learned beside what the first one has left
        env = tasks[task].make(training.num_envs, True)
        ppo = task_ppo(games, env, task)
        with guard.attach(ppo.policy.optimizer, steps_per_epoch=training.steps_per_epoch):
            took = [
                seconds(lambda: ppo.learn(training.steps_per_update, reset_num_timesteps=False))  # noqa: B023
                for _ in range(4)
            ]
        seen = torch.as_tensor(env.reset()).float()
        guard.consolidate([seen], lambda batch: network(batch, 0)[0])
    measured = training.steps_per_update / statistics.median(took)
    say(f"\nagent steps a second of a core, {game}, {method}, {machine}: {measured:,.0f} (at least 4,000)")
    assert measured >= 4000
