"""An experiment of reinforcement learning, loaded so that it can begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agscl.experiments.kind import Ready
from agscl.experiments.result_file import environment
from agscl.extras import require as require_package
from agscl.rl.history import PolicyEvent, PolicyHistory
from agscl.runs.checkpointer import Checkpointer, Conditions
from agscl.runs.events import Logger

from .experiment import PolicyExperiment
from .result import PolicyResult

PACKAGES = ("stable-baselines3", "gymnasium", "ale-py", "minatar")


def require(experiments: Sequence[PolicyExperiment], data_root: Path | None = None) -> None:
    """Refuse experiments if Stable-Baselines3 is missing."""
    if experiments:
        require_package("stable_baselines3", extra="rl")


def load(experiment: PolicyExperiment, data_root: Path | None = None) -> Ready:
    """An experiment that can begin, drawn from the global generators.

    Raises:
        ValueError: If a game or a package is missing, or the trunk cannot be traced.
    """
    from agscl.rl.learn import learn_sequence
    from agscl.rl.learner import PolicyLearner, guarded
    from agscl.rl.task import shape_of

    preset = experiment.full
    tasks = preset.tasks()
    if experiment.tasks is not None and len(tasks) < experiment.tasks:
        raise ValueError(f"{experiment.preset} has {len(tasks)} tasks, {experiment.tasks} were asked for")
    tasks = tasks[: experiment.tasks]
    shape = shape_of(tasks)
    network = preset.network(shape)
    machine = experiment.compute.resolve(network)
    network.to(machine.device)
    learner = PolicyLearner(
        tasks=tasks,
        shape=shape,
        model=network,
        guard=guarded(network, experiment.method, shape),
        training=experiment.training,
        seed=experiment.seed,
        machine=machine,
    )

    def learn(loggers: Sequence[Logger[PolicyEvent]], checkpointer: Checkpointer[PolicyHistory]) -> PolicyResult:
        history = learn_sequence(replace(learner, loggers=loggers, checkpointer=checkpointer))
        return PolicyResult(experiment, history, checkpointer.environment)

    return Ready(learner.model, learner.guard, PolicyHistory, learn, Conditions(environment(machine, PACKAGES)))
