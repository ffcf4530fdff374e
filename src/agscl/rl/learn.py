"""The sequence: learn a task with PPO under the guard, consolidate it, evaluate, go on with the next."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agscl.guard.footprint import footprint
from agscl.runs.checkpointer import RunState
from agscl.runs.events import emit
from agscl.runs.random import capture, derived_seed, restore
from agscl.runs.tensors import load_optimizer, load_states, optimizer_tensors
from agscl.tensors import prefixed, under

from .evaluation import EvaluationProtocol
from .games import ResumableGames
from .history import Evaluation, PolicyHistory, PolicyResumed, PolicyTaskFinished, PolicyTaskStarted, Updated
from .learner import PolicyLearner
from .policy import MultiHeadPolicy, outputs
from .task import require_shape

Batch = tuple[Tensor, Tensor]
"""Observations and the actions that the policy took."""

IMPORTANCE_BATCH = 256


def learn_sequence(learner: PolicyLearner) -> PolicyHistory:
    """Learn all tasks in order, from the newest checkpoint of the learner's checkpointer if there is one.

    A resumed sequence has the same weights, optimizer, method state, random generators and counters. `ResumableGames`
    go on where they were, and all is as if nothing had happened; other environments begin new episodes from a seed of
    their own, and the history says where.

    Raises:
        ValueError: If a task cannot be learned: its gradients are not finite, or its environments changed; or if the
            checkpoint belongs to another network or method.
    """
    saved = learner.checkpointer.resume() if learner.checkpointer else None
    run = _Run(learner, saved.progress if saved else PolicyHistory())
    if saved is None:
        run.begin()
    else:
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
        self._environments: Mapping[str, Tensor] = {}
        self._started = 0.0

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the tensors of a checkpoint that belongs to the history."""
        learner, complaint = self.learner, "the checkpoint does not fit the run, choose a new folder"
        load_states(complaint, (learner.model, under("model", tensors)), (learner.guard, under("guard", tensors)))
        self._optimizer = under("optimizer", tensors)
        restore(under("random", tensors), learner.machine.device)
        self._environments = under("environments", tensors)
        resumed = PolicyResumed(len(self.history.tasks), self.history.updates)
        if self.history.updates and not self._environments:
            self.history.resumed.append(resumed)
        emit(learner.loggers, resumed)

    def _save(self, ppo: PPO | None) -> RunState[PolicyHistory]:
        """The state between two updates, or between two tasks: without an algorithm."""
        memory = {} if ppo is None else optimizer_tensors(ppo.policy.optimizer)
        played = {} if ppo is None else _environment_tensors(ppo)
        random = capture(self.learner.machine.device)
        between = prefixed(optimizer=memory, environments=played, random=random)
        return RunState(self.history, {**self.learner.state(), **between})

    def begin(self) -> None:
        """Measure what costs no learning: the scores of random actions, and of the untrained policy."""
        for index, task in enumerate(self.learner.tasks):
            scores = self._protocol.play_at_random(task, index).scores
            self.history.random_scores.append(statistics.fmean(scores))
        self.evaluate(0)
        self.history.evaluation_seconds = 0.0  # of no task

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
        if self._environments:
            _load_environments(ppo, self._environments)
        self._optimizer = self._environments = {}
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
        exact = replace(learner.machine, dtype=torch.float32)  # importance is measured without rounding to bfloat16
        batches = _rollouts(ppo, training.importance_steps)
        learner.guard.consolidate(batches, lambda batch: outputs(learner.model, index, batch[0], exact)[0])

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
            checkpointer.after_step(lambda: self._save(ppo))

    def evaluate(self, training: int, *, attached: bool = False) -> None:
        """Evaluate the tasks that the settings ask for."""
        start, learner = time.perf_counter(), self.learner
        learner.model.eval()
        consolidated = training + 1 if self.history.updates == learner.training.updates else training
        indices = range(len(learner.tasks) if learner.training.evaluated == "all" else training + 1)
        for index in [training] if learner.guard.by_task and attached else indices:
            task = learner.tasks[index]
            if not attached:
                learner.guard.use_task(min(index, consolidated))
            episodes = self._protocol.play(task, index, partial(self._most_likely, index))
            event = Evaluation(
                time=self._time(training),
                training=training,
                after=consolidated - 1,
                task=index,
                name=task.name,
                score=statistics.fmean(episodes.scores),
                deviation=statistics.pstdev(episodes.scores),
                episodes=len(episodes.scores),
                capped=episodes.capped,
            )
            self.history.evaluations.append(event)
            emit(learner.loggers, event)
        self.history.evaluation_seconds += time.perf_counter() - start

    @torch.no_grad()
    def _most_likely(self, index: int, seen: np.ndarray) -> np.ndarray:
        """The most likely actions of a task's actor."""
        learner = self.learner
        observations = torch.as_tensor(seen, device=learner.machine.device)
        logits, _ = outputs(learner.model, index, observations, learner.machine)
        actions: np.ndarray = logits.argmax(1).cpu().numpy()
        return actions

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


def _environment_tensors(ppo: PPO) -> dict[str, Tensor]:
    """What it takes to go on in the middle of the episodes; nothing where the environments cannot be kept."""
    env = ppo.get_env()
    if not isinstance(env, ResumableGames):
        return {}
    return {**env.state(), "starts": torch.tensor(ppo._last_episode_starts)}


def _load_environments(ppo: PPO, tensors: Mapping[str, Tensor]) -> None:
    """Go on in the middle of the episodes."""
    env = ppo.get_env()
    assert isinstance(env, ResumableGames)
    ppo._last_obs, ppo._last_episode_starts = env.load(tensors), tensors["starts"].numpy()


def _rollouts(ppo: PPO, steps: int) -> list[Batch]:
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
    columns = (torch.cat(parts).split(IMPORTANCE_BATCH) for parts in zip(*taken, strict=True))
    return list(zip(*columns, strict=True))
