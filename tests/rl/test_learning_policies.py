"""PPO under the guard: what is protected, what is learned, what is recorded."""

import itertools
import math
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

import agscl
from agscl.experiments.policies.presets import POLICY_PRESETS
from agscl.methods import EWC, MAS, SI, WSN, RWalk, SingleTask, StepHooks
from agscl.rl.cartpole import cartpole_tasks
from agscl.rl.history import Evaluation, PolicyTaskFinished
from agscl.rl.learn import learn_sequence, task_ppo
from agscl.rl.learner import guarded
from agscl.rl.pixels import PixelGame
from agscl.rl.policy import MultiHeadPolicy, outputs
from agscl.rl.task import PolicyTask, Shape, require_shape
from agscl.runs.machine import Machine
from agscl.runs.random import seeded
from laws.agents import QUICK, Remember, boards, poles

GATED = [agscl.GatedAGSCL(begin=1, end=2), agscl.HAT(smax=20.0), agscl.PackNet(train_epochs=2)]
METHODS = [
    agscl.FineTuning(), agscl.AGSCL(mu=0.1, lam=100.0), EWC(lam=10.0), MAS(lam=0.1), SI(c=1.0), RWalk(lam=1.0),
    WSN(), SingleTask(), *GATED,
]  # fmt: skip


def score(progress, after, task):
    found = [e.score for e in progress.evaluations if (e.after, e.training, e.task) == (after, after, task)]
    return found[-1]


def test_fine_tuning_forgets_the_first_pole_and_ags_cl_does_not() -> None:
    preset = POLICY_PRESETS["cartpole3"]
    training = replace(preset.training, steps=14_336, evaluations=1, evaluated="learned", episodes=5)
    found = []
    for method in (preset.methods["fine-tuning"], preset.methods["ags-cl"]):
        with seeded(0):
            found.append(learn_sequence(poles(method, training=training, width=64)))
    forgetful, protected = found
    assert score(forgetful, 0, 0) > 100
    assert score(forgetful, 1, 0) < 0.5 * score(forgetful, 0, 0)
    assert score(protected, 0, 0) > 100
    assert score(protected, 1, 0) > 0.95 * score(protected, 0, 0)
    assert score(protected, 1, 1) > 2 * protected.random_scores[1]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_learns_tasks_with_different_actions_by_convolutions(method) -> None:
    memory = Remember()
    training = replace(QUICK, evaluations=2)
    learner = boards(method, training=training, loggers=[memory], checkpointer=memory)
    progress = learn_sequence(learner)
    assert [task.name for task in progress.tasks] == ["catch", "dodge", "reach"]
    assert [e for e in memory.events if isinstance(e, Evaluation)] == progress.evaluations
    assert [e for e in memory.events if isinstance(e, PolicyTaskFinished)] == progress.tasks
    assert [len(state.progress.tasks) for state in memory.saved if not state.progress.updates] == [1, 2, 3]


@torch.no_grad()
def answer(learner, index, seen):
    learner.guard.use_task(index)
    return torch.cat(outputs(learner.model, index, seen, Machine()), dim=1)


@pytest.mark.parametrize("method", [agscl.AGSCL(mu=0.1, lam=math.inf), WSN(), *GATED], ids=lambda method: method.name)
def test_hard_freezing_and_networks_of_their_own_keep_a_policy_bit_for_bit(method) -> None:
    class Ask:
        def emit(self, event):
            if isinstance(event, PolicyTaskFinished):
                answers.append([answer(learner, index, seen) for index in range(event.task + 1)])
                learner.guard.use_task(min(event.task + 1, 2))

    learner = boards(method, loggers=[Ask()], checkpointer=Remember())
    seen = torch.randint(0, 256, (16, 3, 10, 10), dtype=torch.uint8)
    answers = []
    progress = learn_sequence(learner)
    for earlier, later in itertools.pairwise(answers):
        assert all(torch.equal(a, b) for a, b in zip(earlier, later, strict=False))
    assert score(progress, 0, 0) == score(progress, 1, 0) == score(progress, 2, 0)


def test_both_heads_of_a_learned_task_read_nothing_from_free_nodes() -> None:
    learner = boards(agscl.AGSCL(mu=0.1, lam=100.0, rho=1.0))
    learn_sequence(learner)
    free = learner.guard.importance["trunk.hidden"] == 0
    assert free.any()
    for heads in (learner.model.actors, learner.model.critics):
        assert all((head.weight[:, free] == 0).all() for head in heads)


def test_the_proximal_step_comes_once_an_epoch_with_the_present_learning_rate() -> None:
    learner = poles(agscl.AGSCL(mu=0.1, lam=100.0), tasks=1)
    rates, steps = [], []
    protection = learner.guard._protection
    holding = protection.holding

    @contextmanager
    def recorded(task):
        with holding(task) as hooks:
            yield StepHooks(
                hooks.before_step,
                lambda step: (steps.append(step), hooks.after_step(step)),
                lambda: (rates.append(task.optimizers[0].param_groups[0]["lr"]), hooks.after_epoch()),
            )

    protection.holding = recorded
    learn_sequence(learner)
    assert len(steps) == QUICK.updates * QUICK.epochs * QUICK.steps_per_epoch
    falling = [QUICK.learning_rate * (1 - update / QUICK.updates) for update in range(1, QUICK.updates + 1)]
    assert rates == pytest.approx([rate for rate in falling for _ in range(QUICK.epochs)])


def test_a_guard_that_does_nothing_leaves_ppo_as_it_is() -> None:
    plain, guarded_learner = poles(agscl.FineTuning(), tasks=1), poles(agscl.FineTuning(), tasks=1)
    guarded_learner.model.load_state_dict(plain.model.state_dict())
    for learner in (plain, guarded_learner):
        env = learner.tasks[0].make(QUICK.num_envs, True)
        env.seed(7)
        torch.manual_seed(1)
        ppo = task_ppo(learner, env, 0)
        ppo.set_random_seed(1)
        if learner is plain:
            ppo.learn(256)
        else:
            with learner.guard.attach(ppo.policy.optimizer, steps_per_epoch=QUICK.steps_per_epoch):
                ppo.learn(256)
    for name, weight in plain.model.state_dict().items():
        assert torch.equal(weight, guarded_learner.model.state_dict()[name])


def test_unchanged_policies_score_the_same_and_every_episode_counts() -> None:
    learner = poles(agscl.AGSCL(mu=0.1, lam=math.inf), training=replace(QUICK, evaluated="all"))
    progress = learn_sequence(learner)
    times = [(e.time, e.after, e.task) for e in progress.evaluations]
    assert times == [(0, -1, 0), (0, -1, 1), (256, 0, 0), (256, 0, 1), (512, 1, 0), (512, 1, 1)]
    assert all(e.episodes == QUICK.episodes for e in progress.evaluations)
    assert all(e.score <= QUICK.max_episode for e in progress.evaluations)
    assert all((e.score == QUICK.max_episode) == (e.capped == e.episodes) for e in progress.evaluations)


def test_evaluation_leaves_training_as_it_is() -> None:
    seldom, often = (learn_sequence(poles(agscl.FineTuning(), training=t)) for t in _schedules())
    assert len(often.evaluations) > len(seldom.evaluations)
    assert [score(seldom, 1, task) for task in (0, 1)] == [score(often, 1, task) for task in (0, 1)]


def _schedules():
    for evaluations in (1, 2):
        with seeded(0):
            yield replace(QUICK, evaluations=evaluations)


def test_any_algorithm_of_stable_baselines3_and_its_own_policy_can_be_protected() -> None:
    env = DummyVecEnv([lambda: PixelGame("catch", training=False)])
    dqn = DQN("MlpPolicy", env, learning_starts=20, train_freq=4, policy_kwargs={"net_arch": [16, 16]}, seed=0)
    q_net = dqn.policy.q_net.q_net
    guard = agscl.protect(q_net, agscl.AGSCL(mu=0.0, lam=math.inf, rho=0.0), example_inputs=torch.zeros(2, 300))
    with guard.attach(dqn.policy.optimizer, steps_per_epoch=10):
        dqn.learn(120)
    seen = [dqn.replay_buffer.sample(64).observations.flatten(1).float() / 255]
    guard.consolidate(seen, q_net)
    important = guard.importance["0"] > 0
    before, rows = q_net[4].weight.clone(), q_net[0].weight[important].clone()
    dqn.policy.optimizer.state.clear()
    with guard.attach(dqn.policy.optimizer, steps_per_epoch=10):
        dqn.learn(120, reset_num_timesteps=False)
    assert important.any()
    assert torch.equal(q_net[0].weight[important], rows)
    assert not torch.equal(q_net[4].weight, before)


def test_bfloat16_computes_in_the_trunk_and_answers_in_float32() -> None:
    network = boards(agscl.FineTuning()).model
    seen = torch.randint(0, 256, (4, 3, 10, 10), dtype=torch.uint8)
    exact, rough = (outputs(network, 1, seen, Machine(dtype=dtype)) for dtype in (torch.float32, torch.bfloat16))
    for one, other in zip(exact, rough, strict=True):
        assert one.dtype == other.dtype == torch.float32
        assert torch.allclose(one, other, atol=0.05)
        assert not torch.equal(one, other)


def test_the_layout_of_memory_changes_nothing_but_the_last_digits() -> None:
    network = boards(agscl.FineTuning()).model
    seen = torch.randint(0, 256, (4, 3, 10, 10), dtype=torch.uint8)
    plain, other = (outputs(network, 0, seen, Machine(channels_last=layout)) for layout in (False, True))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(plain, other, strict=True))


class Hidden(nn.Module):
    """A trunk whose forward depends on what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) if x.sum() > 0 else -self.linear(x)


def test_a_trunk_that_cannot_be_traced_is_refused_with_a_way_out() -> None:
    from agscl.models.actor_critic import ActorCritic

    network = ActorCritic(Hidden(), 8, (2, 2))
    with pytest.raises(ValueError, match=r"cannot follow the forward of ActorCritic: .*; leave the part"):
        guarded(network, agscl.FineTuning(), Shape((4,), (2, 2)))


def test_an_environment_that_changes_its_spaces_is_refused() -> None:
    (task, *_) = cartpole_tasks()
    env = task.make(1, True)
    expected = r"task 'plain' changed its spaces: it had observations \(4,\) and 3 actions, now .* and 2 actions"
    with pytest.raises(ValueError, match=expected):
        require_shape(task, 0, env, Shape((4,), (3,)))
    learner = poles(agscl.FineTuning(), tasks=1)
    turned = PolicyTask("turned", boards(agscl.FineTuning()).tasks[0].make)
    with pytest.raises(ValueError, match="task 'turned' changed its spaces"):
        learn_sequence(replace(learner, tasks=[turned], training=replace(QUICK, evaluated="learned")))


def test_a_policy_whose_actor_does_not_fit_the_task_is_refused() -> None:
    network = boards(agscl.FineTuning()).model
    env = PixelGame("dodge", training=True)
    with pytest.raises(ValueError, match=r"the actor of task 0 has 3 discrete actions, the task has Discrete\(5\)"):
        MultiHeadPolicy(env.observation_space, env.action_space, lambda left: left, network=network, task=0)


def test_pickle_is_nowhere_in_the_room() -> None:
    import agscl.rl.learn as room

    sources = [path.read_text() for path in Path(room.__file__).parent.glob("*.py")]
    assert not any("pickle" in source or "torch.save" in source for source in sources)
