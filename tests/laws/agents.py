"""Learners of a few tasks of reinforcement learning with small networks, and a checkpointer that remembers."""

import copy
from dataclasses import dataclass, field

from agscl.models import MLP
from agscl.models.actor_critic import ActorCritic, Filters, PixelTrunk
from agscl.rl.cartpole import cartpole_tasks
from agscl.rl.learner import PolicyLearner, guarded
from agscl.rl.pixels import pixel_tasks
from agscl.rl.settings import PPOTraining
from agscl.rl.task import shape_of
from agscl.runs.checkpointer import RunState

QUICK = PPOTraining(
    steps=256, num_envs=8, rollout=16, epochs=2, batch_size=64, learning_rate=1e-3, evaluations=1, episodes=2,
    max_episode=40, importance_steps=64,
)  # fmt: skip


@dataclass
class Remember:
    """A logger and a checkpointer: remembers every event and every checkpoint, and may begin from one."""

    begin: RunState | None = None
    events: list = field(default_factory=list)
    saved: list = field(default_factory=list)

    def emit(self, event):
        self.events.append(event)

    def resume(self):
        return self.begin

    def after_step(self, save):
        self.write(save)

    def write(self, save):
        now = save()
        tensors = {name: tensor.clone() for name, tensor in now.tensors.items()}
        self.saved.append(RunState(copy.deepcopy(now.progress), tensors))


def poles(method, *, tasks=2, training=QUICK, width=32, **options):
    chosen = cartpole_tasks()[:tasks]
    shape = shape_of(chosen)
    network = ActorCritic(MLP(4, (width, width)), width, shape.num_actions)
    return PolicyLearner(chosen, shape, network, guarded(network, method, shape), training, seed=0, **options)


def boards(method, *, training=QUICK, **options):
    tasks = pixel_tasks()
    shape = shape_of(tasks)
    trunk = PixelTrunk(shape.observation, (Filters(8, 3, 1), Filters(8, 3, 2)), 32)
    network = ActorCritic(trunk, 32, shape.num_actions)
    return PolicyLearner(tasks, shape, network, guarded(network, method, shape), training, seed=0, **options)
