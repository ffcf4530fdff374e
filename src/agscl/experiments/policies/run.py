"""From an experiment of reinforcement learning to a result in a run folder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import ConfigDict, ValidationError
from torch import Tensor

from agscl.experiments.codec import adapter
from agscl.experiments.result_file import environment
from agscl.experiments.resuming import earlier_result
from agscl.experiments.states import TaskStates, write_state
from agscl.experiments.supervised.run import EVERY, threads
from agscl.extras import require
from agscl.methods import WSN, SingleTask
from agscl.rl.history import PolicyHistory
from agscl.runs import RunFolder
from agscl.runs.checkpoint import Checkpoint, CheckpointFolder
from agscl.runs.files import write_bytes
from agscl.runs.random import capture, restore, seeded
from agscl.runs.tables import write_table
from agscl.training import Every, Interruption, JsonLines, Machine
from agscl.training.keeper import Schedule, cut, size_of

from .experiment import PolicyExperiment
from .result import PolicyResult

if TYPE_CHECKING:
    from agscl.rl.events import Sink
    from agscl.rl.learner import PolicyLearner

PACKAGES = ("stable-baselines3", "gymnasium", "ale-py")
RANDOM = "random."
"""What the names of the generators' states begin with in a checkpoint."""


def run_policies(
    experiment: PolicyExperiment,
    folder: RunFolder,
    sinks: Sequence[Sink] = (),
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
        sinks: Where events go, besides the folder.
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
    with seeded(experiment.seed), threads(experiment.full.threads):
        learner, machine = load_policies(experiment)
        with folder.claimed(experiment.to_json(), resume=resume):
            progress = _learn(replace(learner, sinks=(JsonLines(folder.events), *sinks)), folder, machine, every)
            return _finish(PolicyResult(experiment, progress, environment(machine, PACKAGES)), learner, folder)


def load_policies(experiment: PolicyExperiment) -> tuple[PolicyLearner, Machine]:
    """Tasks, network and guard of an experiment, untrained, drawn from the global generators; and where they compute.

    Raises:
        ValueError: If a game or a package is missing, or the trunk cannot be traced.
    """
    from agscl.rl.learner import PolicyLearner, guarded
    from agscl.rl.policy import Arithmetic
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
        network=network,
        guard=guarded(network, experiment.method, shape),
        training=experiment.training,
        seed=experiment.seed,
        arithmetic=Arithmetic(machine.dtype, machine.channels_last),
        isolated=isinstance(experiment.method, SingleTask | WSN),
    )
    return learner, machine


def _learn(learner: PolicyLearner, folder: RunFolder, machine: Machine, every: Every) -> PolicyHistory:
    from agscl.rl.learn import learn_sequence, resume_sequence

    interruption = Interruption()
    states = TaskStates(folder, learner.network, learner.guard)
    keeper = _Keeper(folder, states, every, interruption, machine.device)
    learner = replace(learner, keeper=keeper)
    with interruption.watching():
        found = keeper.resume()
        if found is None:
            return learn_sequence(learner)
        progress, tensors = found
        return resume_sequence(learner, progress, tensors)


def _finish(result: PolicyResult, learner: PolicyLearner, folder: RunFolder) -> PolicyResult:
    write_state(folder.state, learner.network, learner.guard)
    write_table(folder.evaluations, result.table())
    write_bytes(folder.result, result.to_json())
    CheckpointFolder(folder.checkpoints).clear()
    return result


@dataclass(frozen=True)
class _Record:
    """What a checkpoint says besides its tensors."""

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid", "strict": True}

    progress: PolicyHistory
    events: int


class _Keeper:
    """Writes checkpoints and the states after tasks, and finds checkpoints again."""

    def __init__(
        self, folder: RunFolder, states: TaskStates, every: Every, interruption: Interruption, device: torch.device
    ) -> None:
        self._checkpoints, self._events = CheckpointFolder(folder.checkpoints), folder.events
        self._states, self._interruption, self._device = states, interruption, device
        self._schedule = Schedule(every)

    def due(self) -> bool:
        """Whether enough time or updates have passed, or a signal asked for the end."""
        return self._schedule.due() or self._interruption.number is not None

    def save(self, progress: PolicyHistory, tensors: Mapping[str, Tensor]) -> None:
        """Write a checkpoint.

        Raises:
            Stopped: If a signal asked for the end.
            OSError: If the checkpoint cannot be written; the one before it stays.
        """
        start = time.perf_counter()
        random = {f"{RANDOM}{name}": tensor for name, tensor in capture(self._device).items()}
        record = _Record(progress, size_of(self._events))
        text = adapter(_Record).dump_json(record).decode()
        path = self._checkpoints.write(Checkpoint(text, {**tensors, **random}))
        self._schedule.written(time.perf_counter() - start)
        self._interruption.check(f"stopped; go on with --resume ({path})")

    def learned(self, task: int) -> None:
        """Write the state after a task."""
        self._states.keep(task)

    def resume(self) -> tuple[PolicyHistory, Mapping[str, Tensor]] | None:
        """What the newest whole checkpoint holds; events and generators are as they were then. `None` without any.

        Raises:
            ValueError: If there is one that cannot be used.
        """
        found = self._checkpoints.newest()
        if found is None:
            cut(self._events, 0)
            return None
        try:
            record = adapter(_Record).validate_json(found.record)
        except ValidationError as error:
            raise ValueError(f"{self._checkpoints.path} holds no checkpoints of this agscl: start anew") from error
        cut(self._events, record.events)
        states = {name.removeprefix(RANDOM): t for name, t in found.tensors.items() if name.startswith(RANDOM)}
        restore(states, self._device)
        return record.progress, found.tensors
