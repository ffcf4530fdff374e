"""The sequence: learn a task with PPO under the guard, consolidate it, evaluate, go on with the next."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agscl.metrics import sparsity

from .evaluation import Protocol
from .events import PolicyTaskStarted, Updated, emit
from .history import Evaluation, PolicyHistory, PolicyResumed, PolicyTaskFinished
from .learner import PolicyLearner, part
from .optimizer import load_optimizer, optimizer_tensors
from .policy import MultiHeadPolicy, outputs
from .seeds import derived_seed
from .task import require_shape

Batch = tuple[Tensor, Tensor]
"""Observations and the actions that the policy took."""

IMPORTANCE_BATCH = 256


def learn_sequence(learner: PolicyLearner) -> PolicyHistory:
    """Learn all tasks in order.

    Raises:
        ValueError: If a task cannot be learned: its gradients are not finite, or its environments changed.
    """
    run = _Run(learner, PolicyHistory())
    run.measure_random_scores()
    run.evaluate(0)
    run.go_on()
    return run.history


def resume_sequence(learner: PolicyLearner, history: PolicyHistory, tensors: Mapping[str, Tensor]) -> PolicyHistory:
    """Go on from a checkpoint: the same weights, optimizer, method state, generators and counters.

    The global random generators are the caller's to restore. Environments cannot be saved: they begin new episodes
    from a seed of their own, and the record says where.

    Args:
        learner: As it was made for the run, with fresh weights.
        history: The record that was saved.
        tensors: The tensors that were saved with it.

    Raises:
        ValueError: If the tensors belong to another network or method, or a task cannot be learned.
    """
    learner.load(tensors)
    history.resumed.append(PolicyResumed(len(history.tasks), history.updates))
    emit(learner.sinks, history.resumed[-1])
    run = _Run(learner, history, part(tensors, "optimizer."))
    run.go_on()
    return run.history


class _Run:
    """One sequence in progress."""

    def __init__(
        self, learner: PolicyLearner, history: PolicyHistory, optimizer: Mapping[str, Tensor] | None = None
    ) -> None:
        self.learner, self.history = learner, history
        self._optimizer = optimizer or {}
        training = learner.training
        self._protocol = Protocol(training.episodes, training.max_episode, learner.seed, learner.shape)
        self._begun = 0.0

    def measure_random_scores(self) -> None:
        """Play every task at random."""
        for index, task in enumerate(self.learner.tasks):
            scores = self._protocol.play_at_random(task, index).scores
            self.history.random_scores.append(statistics.fmean(scores))

    def go_on(self) -> None:
        """Learn the tasks that are left."""
        for index in range(len(self.history.tasks), len(self.learner.tasks)):
            self._learn(index)

    def _learn(self, index: int) -> None:
        learner, history, task = self.learner, self.history, self.learner.tasks[index]
        self._begun = time.perf_counter() - history.seconds
        history.evaluation_seconds = history.evaluation_seconds if history.updates else 0.0
        emit(learner.sinks, PolicyTaskStarted(index, task.name, len(learner.tasks), learner.training.updates))
        env = task.make(learner.training.num_envs, True)
        try:
            require_shape(task, index, env, learner.shape)
            env.seed(derived_seed(learner.seed, index, "training", len(history.resumed)))
            self._practise(env, index)
        finally:
            env.close()
        trained = time.perf_counter() - self._begun - history.evaluation_seconds
        self.evaluate(index)
        history.tasks.append(self._learned(index, trained))
        history.updates, history.seconds, history.evaluation_seconds = 0, 0.0, 0.0
        emit(learner.sinks, history.tasks[-1])
        learner.keeper.learned(index)
        self._save({})

    def _practise(self, env: VecEnv, index: int) -> None:
        """PPO under the guard, then consolidation on rollouts of the finished policy."""
        learner, training = self.learner, self.learner.training
        if self.history.updates == 0:
            learner.guard.use_task(index)
        ppo = task_ppo(learner, env, index)
        load_optimizer(ppo.policy.optimizer, self._optimizer)
        self._optimizer = {}
        ppo.num_timesteps = self.history.updates * training.steps_per_update
        ppo._n_updates = self.history.updates * training.epochs
        left = training.steps_per_task - ppo.num_timesteps
        with learner.guard.attach(ppo.policy.optimizer, steps_per_epoch=training.steps_per_epoch):
            ppo.learn(
                left,
                callback=_BetweenUpdates(self, index),
                log_interval=training.updates + 1,
                reset_num_timesteps=False,
            )
        self.history.updates = training.updates
        batches = list(_rollouts(ppo, training.importance_steps))
        learner.guard.consolidate(batches, _Logits(learner, index))

    def after_update(self, index: int, update: int, ppo: PPO) -> None:
        """Evaluate and save where that is due; the guard is attached."""
        training = self.learner.training
        self.history.updates = update
        emit(self.learner.sinks, Updated(index, update, self._time(index)))
        if update < training.updates and training.evaluates_after(update):
            self.evaluate(index, attached=True)
        if update < training.updates and self.learner.keeper.due():
            self.history.seconds = time.perf_counter() - self._begun
            self._save(optimizer_tensors(ppo.policy.optimizer))

    def evaluate(self, training: int, *, attached: bool = False) -> None:
        """Evaluate the tasks that the settings ask for."""
        start = time.perf_counter()
        self.learner.network.eval()
        for index in self._evaluated(training, attached):
            if not attached:
                self.learner.guard.use_task(min(index, self._num_consolidated(training)))
            self._evaluate(index, training, attached)
        self.history.evaluation_seconds += time.perf_counter() - start

    def _evaluate(self, index: int, training: int, attached: bool) -> None:
        learner, task = self.learner, self.learner.tasks[index]
        policy = _Greedy(learner, index)
        episodes = self._protocol.play(task, index, policy)
        after = len(self.history.tasks) - 1 if attached else self._num_consolidated(training) - 1
        event = Evaluation(
            time=self._time(training),
            training=training,
            after=after,
            task=index,
            name=task.name,
            score=statistics.fmean(episodes.scores),
            deviation=statistics.pstdev(episodes.scores),
            episodes=len(episodes.scores),
            capped=episodes.capped,
        )
        self.history.evaluations.append(event)
        emit(learner.sinks, event)

    def _evaluated(self, training: int, attached: bool) -> range:
        learner = self.learner
        if learner.isolated and attached:
            return range(training, training + 1)
        return range(len(learner.tasks) if learner.training.evaluated == "all" else training + 1)

    def _num_consolidated(self, training: int) -> int:
        return training + 1 if self.history.updates == self.learner.training.updates else training

    def _time(self, index: int) -> int:
        training = self.learner.training
        return index * training.steps_per_task + self.history.updates * training.steps_per_update

    def _learned(self, index: int, trained: float) -> PolicyTaskFinished:
        learner, guard = self.learner, self.learner.guard
        return PolicyTaskFinished(
            task=index,
            name=learner.tasks[index].name,
            steps=learner.training.steps_per_task,
            sparsity=sparsity(guard.importance) if guard.importance else None,
            memory_bytes=guard.memory_bytes(),
            regularization_bytes=guard.memory_bytes(regularization_only=True),
            training_seconds=trained,
            seconds=time.perf_counter() - self._begun,
        )

    def _save(self, optimizer: Mapping[str, Tensor]) -> None:
        named = {f"optimizer.{name}": tensor for name, tensor in optimizer.items()}
        self.learner.keeper.save(self.history, {**self.learner.state(), **named})


class _BetweenUpdates(BaseCallback):
    """Tells a run of every finished update, before the next rollout begins and after the last one."""

    def __init__(self, run: _Run, index: int) -> None:
        super().__init__()
        self._run, self._index = run, index
        self._seen = run.history.updates

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self._tell()

    def _on_training_end(self) -> None:
        self._tell()

    def _tell(self) -> None:
        update = self.num_timesteps // self._run.learner.training.steps_per_update
        if update > self._seen:
            assert isinstance(self.model, PPO)
            self._seen = update
            self._run.after_update(self._index, update, self.model)


def task_ppo(learner: PolicyLearner, env: VecEnv, index: int) -> PPO:
    """PPO for one task around the learner's network, with a fresh optimizer."""
    training = learner.training
    ppo = PPO(
        MultiHeadPolicy,  # type: ignore[arg-type] # an actor-critic policy by what it offers, not by its base class
        env,
        learning_rate=lambda remaining: remaining * training.learning_rate,
        n_steps=training.rollout,
        batch_size=training.batch_size,
        n_epochs=training.epochs,
        gamma=training.gamma,
        gae_lambda=training.gae_lambda,
        clip_range=training.clip,
        clip_range_vf=training.value_clip,
        ent_coef=training.entropy_coef,
        vf_coef=training.value_coef,
        max_grad_norm=training.max_grad_norm,
        policy_kwargs={"network": learner.network, "task": index, "arithmetic": learner.arithmetic},
        device=learner.device,
    )
    ppo.set_logger(Logger(folder=None, output_formats=[]))
    return ppo


@dataclass(frozen=True)
class _Logits:
    """Logits of a task's actions in float32 throughout: what importance is measured on."""

    learner: PolicyLearner
    index: int

    def __call__(self, batch: Batch) -> Tensor:
        arithmetic = replace(self.learner.arithmetic, dtype=torch.float32)
        return outputs(self.learner.network, self.index, batch[0], arithmetic)[0]


@dataclass(frozen=True)
class _Greedy:
    """The most likely action of a task's actor."""

    learner: PolicyLearner
    index: int

    @torch.no_grad()
    def __call__(self, seen: np.ndarray) -> np.ndarray:
        learner = self.learner
        observations = torch.as_tensor(seen, device=learner.device)
        logits, _ = outputs(learner.network, self.index, observations, learner.arithmetic)
        actions: np.ndarray = logits.argmax(1).cpu().numpy()
        return actions


def _rollouts(ppo: PPO, steps: int) -> Iterator[Batch]:
    """Observations and sampled actions of the present policy, from where its training environments are."""
    env = ppo.get_env()
    assert env is not None
    seen: Any = ppo._last_obs
    taken: list[Batch] = []
    for _ in range(-(-steps // env.num_envs)):
        observations = torch.tensor(seen, device=ppo.device)
        with torch.no_grad():
            actions, _, _ = ppo.policy(observations)
        taken.append((observations, actions))
        seen = env.step(actions.cpu().numpy())[0]
    for observations, actions in zip(*(_joined(column) for column in zip(*taken, strict=True)), strict=True):
        yield observations, actions


def _joined(parts: tuple[Tensor, ...]) -> Sequence[Tensor]:
    return torch.split(torch.cat(parts), IMPORTANCE_BATCH)
