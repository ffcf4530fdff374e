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
from torch.optim import Optimizer

from agscl.guard.footprint import footprint
from agscl.runs.checkpointer import RunState
from agscl.runs.events import emit
from agscl.runs.random import capture, restore
from agscl.runs.tensors import load_optimizer, optimizer_tensors, prefixed, under

from .evaluation import EvaluationProtocol
from .history import Evaluation, PolicyHistory, PolicyResumed, PolicyTaskFinished, PolicyTaskStarted, Updated
from .learner import PolicyLearner
from .policy import MultiHeadPolicy, outputs
from .seeds import derived_seed
from .task import require_shape

Batch = tuple[Tensor, Tensor]
"""Observations and the actions that the policy took."""

IMPORTANCE_BATCH = 256


def learn_sequence(learner: PolicyLearner) -> PolicyHistory:
    """Learn all tasks in order, from the newest checkpoint of the learner's checkpointer if there is one.

    A resumed sequence has the same weights, optimizer, method state, random generators and counters. Environments
    cannot be saved: they begin new episodes from a seed of their own, and the history says where.

    Raises:
        ValueError: If a task cannot be learned: its gradients are not finite, or its environments changed; or if the
            checkpoint belongs to another network or method.
    """
    saved = learner.checkpointer.resume() if learner.checkpointer else None
    if saved is None:
        run = _Run(learner, PolicyHistory())
        run.measure_random_scores()
        run.evaluate(0)
        run.history.evaluation_seconds = 0.0  # of no task
    else:
        run = _Run(learner, saved.progress)
        run.load(saved.tensors)
    for index in range(len(run.history.tasks), len(learner.tasks)):
        run.learn(index)
    return run.history


class _Run:
    """One sequence in progress."""

    def __init__(self, learner: PolicyLearner, history: PolicyHistory) -> None:
        self.learner, self.history = learner, history
        training = learner.training
        self._protocol = EvaluationProtocol(training.episodes, training.max_episode, learner.seed, learner.shape)
        self._optimizer: Mapping[str, Tensor] = {}
        self._started = 0.0

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the tensors of a checkpoint that belongs to the history."""
        self.learner.load(tensors)
        self._optimizer = under("optimizer", tensors)
        restore(under("random", tensors), self.learner.machine.device)
        self.history.resumed.append(PolicyResumed(len(self.history.tasks), self.history.updates))
        emit(self.learner.loggers, self.history.resumed[-1])

    def _save(self, optimizer: Optimizer | None) -> RunState[PolicyHistory]:
        """The state between two updates, or between two tasks: without an optimizer."""
        memory = {} if optimizer is None else optimizer_tensors(optimizer)
        random = capture(self.learner.machine.device)
        return RunState(self.history, {**self.learner.state(), **prefixed(optimizer=memory, random=random)})

    def measure_random_scores(self) -> None:
        """Play every task at random."""
        for index, task in enumerate(self.learner.tasks):
            scores = self._protocol.play_at_random(task, index).scores
            self.history.random_scores.append(statistics.fmean(scores))

    def learn(self, index: int) -> None:
        """Learn a task from the progress in the history."""
        learner, history, task = self.learner, self.history, self.learner.tasks[index]
        self._started = time.perf_counter() - history.seconds
        emit(learner.loggers, PolicyTaskStarted(index, task.name, len(learner.tasks), learner.training.updates))
        env = task.make(learner.training.num_envs, True)
        try:
            require_shape(task, index, env, learner.shape)
            env.seed(derived_seed(learner.seed, index, "training", len(history.resumed)))
            self._practise(env, index)
        finally:
            env.close()
        trained = time.perf_counter() - self._started - history.evaluation_seconds
        self.evaluate(index)
        finished = PolicyTaskFinished(
            task=index,
            name=task.name,
            steps=learner.training.steps_per_task,
            **footprint(learner.guard),
            training_seconds=trained,
            seconds=time.perf_counter() - self._started,
        )
        history.tasks.append(finished)
        history.updates, history.seconds, history.evaluation_seconds = 0, 0.0, 0.0
        emit(learner.loggers, finished)
        if learner.checkpointer is not None:
            learner.checkpointer.write(lambda: self._save(None))

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
        """Evaluate and save where that is due; the guard is attached. After the last update, `learn` does both."""
        training, checkpointer = self.learner.training, self.learner.checkpointer
        self.history.updates = update
        emit(self.learner.loggers, Updated(index, update, self._time(index)))
        if update == training.updates:
            return
        if training.evaluates_after(update):
            self.evaluate(index, attached=True)
        self.history.seconds = time.perf_counter() - self._started
        if checkpointer is not None:
            checkpointer.after_step(lambda: self._save(ppo.policy.optimizer))

    def evaluate(self, training: int, *, attached: bool = False) -> None:
        """Evaluate the tasks that the settings ask for."""
        start = time.perf_counter()
        self.learner.model.eval()
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
        emit(learner.loggers, event)

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
        policy_kwargs={"network": learner.model, "task": index, "machine": learner.machine},
        device=learner.machine.device,
    )
    ppo.set_logger(Logger(folder=None, output_formats=[]))
    return ppo


@dataclass(frozen=True)
class _Logits:
    """Logits of a task's actions in float32 throughout: what importance is measured on."""

    learner: PolicyLearner
    index: int

    def __call__(self, batch: Batch) -> Tensor:
        machine = replace(self.learner.machine, dtype=torch.float32)
        return outputs(self.learner.model, self.index, batch[0], machine)[0]


@dataclass(frozen=True)
class _Greedy:
    """The most likely action of a task's actor."""

    learner: PolicyLearner
    index: int

    @torch.no_grad()
    def __call__(self, seen: np.ndarray) -> np.ndarray:
        learner = self.learner
        observations = torch.as_tensor(seen, device=learner.machine.device)
        logits, _ = outputs(learner.model, self.index, observations, learner.machine)
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
