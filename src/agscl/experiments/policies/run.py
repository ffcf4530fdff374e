"""From an experiment of reinforcement learning to a result in a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from agscl.experiments.result_file import environment
from agscl.experiments.running import Ready, earlier_result, run_ready
from agscl.extras import require
from agscl.methods import WSN, SingleTask
from agscl.rl.history import PolicyEvent, PolicyHistory
from agscl.runs import RunFolder
from agscl.runs.checkpointer import EVERY, Checkpointer, Every
from agscl.runs.events import Logger
from agscl.runs.machine import threads
from agscl.runs.random import seeded

from .experiment import PolicyExperiment
from .result import PolicyResult

if TYPE_CHECKING:
    from agscl.rl.learner import PolicyLearner

PACKAGES = ("stable-baselines3", "gymnasium", "ale-py")


def run_policies(
    experiment: PolicyExperiment,
    folder: RunFolder,
    loggers: Sequence[Logger[PolicyEvent]] = (),
    *,
    resume: bool = False,
    every: Every = EVERY,
) -> PolicyResult:
    """Run an experiment and write all of it into a folder.

    The same experiment gives the same numbers on the same machine. A run that was interrupted goes on with the same
    weights, optimizer, method and generators; its environments begin new episodes, and the result says where.

    Args:
        experiment: What to run.
        folder: Where it is written; a new or empty folder, unless the run resumes.
        loggers: Where events go, besides the folder.
        resume: Go on where a run in the folder stopped; begin if there is none; only read the result if it finished.
        every: How often a checkpoint is written; steps count updates.

    Raises:
        ValueError: If the folder holds something else, a package is missing, or the experiment cannot be run.
        Stopped: If a signal asked for the end; the run is saved then.
        OSError: If the folder cannot be written.
    """
    require("stable_baselines3", extra="rl")
    if (earlier := earlier_result(experiment, folder, PolicyResult.read, resume=resume)) is not None:
        return earlier
    from agscl.rl.learn import learn_sequence

    with seeded(experiment.seed), threads(experiment.full.threads):
        learner = load_policies(experiment)

        def learn(loggers: Sequence[Logger[PolicyEvent]], checkpointer: Checkpointer[PolicyHistory]) -> PolicyResult:
            history = learn_sequence(replace(learner, loggers=loggers, checkpointer=checkpointer))
            return PolicyResult(experiment, history, environment(learner.machine, PACKAGES))

        ready = Ready(experiment, learner.model, learner.guard, PolicyHistory, learn)
        return run_ready(ready, folder, loggers, resume=resume, every=every)


def load_policies(experiment: PolicyExperiment) -> PolicyLearner:
    """The learner of an experiment: tasks, network and guard, untrained, drawn from the global generators.

    Raises:
        ValueError: If a game or a package is missing, or the trunk cannot be traced.
    """
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
    return PolicyLearner(
        tasks=tasks,
        shape=shape,
        model=network,
        guard=guarded(network, experiment.method, shape),
        training=experiment.training,
        seed=experiment.seed,
        machine=machine,
        isolated=isinstance(experiment.method, SingleTask | WSN),
    )
