"""Presets of reinforcement learning: tasks, network, PPO settings, and each method's hyper-parameters, by name.

Nothing heavy is imported until a preset is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING

from agscl.experiments import outside
from agscl.experiments.codec import by_name
from agscl.experiments.kind import AnyPreset
from agscl.methods import AGSCL, EWC, MAS, SI, WSN, AnyMethod, FineTuning, RWalk, SingleTask
from agscl.models import MLP
from agscl.models.actor_critic import NATURE, WIDE, ActorCritic, Filters, PixelTrunk
from agscl.rl.settings import PPOTraining

if TYPE_CHECKING:
    from agscl.rl.task import PolicyTask, Shape

OFFICIAL_OMEGA = 400 / 19
"""The official code's importance is so many times the mean activation of equation (8): ``lam`` is multiplied by it."""


@dataclass(frozen=True)
class PolicyPreset(AnyPreset):
    """All of an experiment of reinforcement learning but the method and the seed.

    Attributes:
        tasks: Makes the tasks.
        network: An untrained network for them.
        training: How each task is learned.
        frames_per_step: Frames of the game in one agent step.
    """

    description: str
    tasks: Callable[[], Sequence[PolicyTask]]
    network: Callable[[Shape], ActorCritic]
    training: PPOTraining
    methods: Mapping[str, AnyMethod]
    baselines: Mapping[str, AnyMethod] = field(default_factory=dict)
    frames_per_step: int = 1
    threads: int | None = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """The games come with the extra."""
        return ("extra rl",)


def _games(number: int) -> Callable[[], Sequence[PolicyTask]]:
    def tasks() -> Sequence[PolicyTask]:
        from agscl.rl.atari import EIGHT_GAMES, atari_tasks

        return atari_tasks(EIGHT_GAMES[:number])

    return tasks


def _five_games() -> Sequence[PolicyTask]:
    from agscl.rl.minatar import minatar_tasks

    return minatar_tasks()


def _poles() -> Sequence[PolicyTask]:
    from agscl.rl.cartpole import cartpole_tasks

    return cartpole_tasks()


def _boards() -> Sequence[PolicyTask]:
    from agscl.rl.pixels import pixel_tasks

    return pixel_tasks()


def _pixel_network(filters: Sequence[Filters], num_features: int, shape: Shape) -> ActorCritic:
    return ActorCritic(PixelTrunk(shape.observation, filters, num_features), num_features, shape.num_actions)


def _mlp_network(shape: Shape) -> ActorCritic:
    return ActorCritic(MLP(prod(shape.observation), (64, 64)), 64, shape.num_actions)


ATARI = PPOTraining(
    # The official code of Jung et al. (2020), arguments_rl.py, but for 10^7 steps, which are the paper's. Its value
    # loss has half the weight of Stable-Baselines3's. Advantages are normalised over a batch here, a rollout there.
    steps=10_000_000,
    num_envs=128,
    rollout=64,
    epochs=10,
    batch_size=128,
    learning_rate=3e-4,
    value_clip=0.2,
    value_coef=0.25,
    evaluations=30,
    evaluated="learned",
    episodes=10,
    max_episode=27_000,  # ALE's own limit of 108,000 frames
    importance_steps=2560,
)
"""The paper's."""

SMALL_ATARI = replace(
    ATARI,
    steps=100_000,
    num_envs=8,
    rollout=128,
    epochs=4,
    batch_size=256,
    evaluations=1,
    episodes=3,
    max_episode=2000,  # a game of Boxing, or a minute and a half of an endless one
    importance_steps=2048,
)
"""For a processor: a smoke test of the protocol, not a reproduction."""

ATARI_METHODS = by_name(AGSCL(mu=0.1, lam=100 * OFFICIAL_OMEGA, eta=0.9, rho=1.0), FineTuning())
"""AGS-CL with the strengths of the paper's section 4.2 (lambda 100 or 1000), rho as the official code fixes it."""

ATARI_BASELINES = by_name(
    EWC(lam=25_000.0),  # the paper's; its Fisher is of clipped batch gradients, this one of single samples: not tuned
    MAS(lam=1.0),  # the paper's
    SI(c=1.0),  # not published for reinforcement learning, as are all below
    RWalk(lam=1.0),
    WSN(),
    SingleTask(),
)

ATARI_ON_CPU = PolicyPreset(
    description="8 Atari games, 10^5 agent steps each; the Nature network",
    tasks=_games(8),
    network=partial(_pixel_network, NATURE, 512),
    training=SMALL_ATARI,
    methods=ATARI_METHODS,
    baselines=ATARI_BASELINES,
    frames_per_step=4,
)

MINATAR_METHODS = by_name(AGSCL(mu=1.0, lam=100.0), EWC(lam=100.0), MAS(lam=0.1), FineTuning())
"""Strengths that ended best among two to four each on three of the games at 100,000 steps, seed 0."""

SMALL_METHODS = by_name(AGSCL(mu=0.1, lam=1000.0), FineTuning())
SMALL_BASELINES = by_name(EWC(lam=100.0), MAS(lam=0.1), SI(c=1.0), RWalk(lam=1.0), WSN(), SingleTask())

POLICY_PRESETS: Mapping[str, PolicyPreset] = {
    "atari8-paper": PolicyPreset(
        description="8 Atari games, 10^7 agent steps each; the paper's network: for a GPU",
        tasks=_games(8),
        network=partial(_pixel_network, WIDE, 512),
        training=ATARI,
        methods=ATARI_METHODS,
        baselines=ATARI_BASELINES,
        frames_per_step=4,
        threads=None,
    ),
    "atari8-cpu": ATARI_ON_CPU,
    "atari2-smoke": replace(
        ATARI_ON_CPU,
        description="StarGunner and Boxing, 20,000 agent steps each",
        tasks=_games(2),
        training=replace(SMALL_ATARI, steps=20_000, evaluated="all"),
    ),
    "minatar5": PolicyPreset(
        description="5 games of MinAtar, 300,000 agent steps each; a convolution and 128 features: minutes",
        tasks=_five_games,
        network=partial(_pixel_network, (Filters(16, 3, 1),), 128),
        training=PPOTraining(
            steps=300_000,
            num_envs=64,
            rollout=64,
            batch_size=512,
            learning_rate=2.5e-3,
            entropy_coef=0.01,
            evaluations=5,
            evaluated="learned",
            episodes=20,
        ),
        methods=MINATAR_METHODS,
        baselines=by_name(SI(c=1.0), RWalk(lam=1.0), WSN(), SingleTask()),
    ),
    "cartpole3": PolicyPreset(
        description="3 ways to see the same pole; an MLP: seconds",
        tasks=_poles,
        network=_mlp_network,
        training=PPOTraining(
            steps=30_000,
            num_envs=32,
            rollout=32,
            epochs=15,
            batch_size=512,
            learning_rate=2e-3,
            gamma=0.98,
            gae_lambda=0.8,
            evaluations=5,
            episodes=10,
            max_episode=500,
        ),
        methods=SMALL_METHODS,
        baselines=SMALL_BASELINES,
    ),
    "pixels3": PolicyPreset(
        description="3 games on a 10x10 board with 3, 5 and 4 actions; convolutions",
        tasks=_boards,
        network=partial(_pixel_network, (Filters(16, 3, 1), Filters(16, 3, 2)), 64),
        training=PPOTraining(
            steps=60_000, num_envs=16, rollout=64, batch_size=256, learning_rate=1e-3, episodes=10, max_episode=200
        ),
        methods=SMALL_METHODS,
        baselines=SMALL_BASELINES,
    ),
}
"""All of them; none but cartpole3 is tuned, and that by a few values on two seeds."""


def policy_preset(name: str) -> PolicyPreset:
    """The preset of that name; a `ValueError` lists the names if there is none."""
    if name in POLICY_PRESETS:
        return POLICY_PRESETS[name]
    if name in outside.offered(outside.PRESETS):
        preset = outside.load(outside.PRESETS, name)
        if isinstance(preset, PolicyPreset):
            return preset
    raise ValueError(f"unknown preset {name!r}; of reinforcement learning there are: {', '.join(POLICY_PRESETS)}")
