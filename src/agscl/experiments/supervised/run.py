"""From a supervised experiment to a result in a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from agscl.benchmarks.needed import require_sets
from agscl.benchmarks.task import TaskSequence
from agscl.experiments.result_file import environment
from agscl.experiments.running import Ready, earlier_result, run_ready
from agscl.guard import protect
from agscl.methods import CPR, Joint
from agscl.runs import RunFolder
from agscl.runs.checkpointer import EVERY, Checkpointer, Every
from agscl.runs.events import Logger
from agscl.runs.machine import threads
from agscl.runs.random import seeded
from agscl.training import Event, Learner, SequenceProgress, learn_sequence

from .experiment import Experiment
from .presets import supervised_preset
from .result import Result


@dataclass(frozen=True)
class LoadedRun:
    """The tasks and the learner of an experiment: untrained, as a run begins.

    Attributes:
        experiment: The configuration.
        sequence: The tasks.
        learner: Model, guard and settings.
    """

    experiment: Experiment
    sequence: TaskSequence
    learner: Learner


def load_run(experiment: Experiment, data_root: Path | None = None) -> LoadedRun:
    """The tasks, model and guard of an experiment, drawn by its seed.

    Args:
        experiment: The configuration, such as what a run folder holds.
        data_root: Folder of the data sets; default: the platform's cache folder.

    Raises:
        ValueError: If data is missing, or the experiment cannot be run.
    """
    require_sets(supervised_preset(experiment.preset).data, data_root)
    with seeded(experiment.seed):
        return _load(experiment, data_root)


def run(
    experiment: Experiment,
    folder: RunFolder,
    loggers: Sequence[Logger[Event]] = (),
    *,
    data_root: Path | None = None,
    resume: bool = False,
    every: Every = EVERY,
) -> Result:
    """Run an experiment and write all of it into a folder.

    The same experiment gives the same numbers on the same machine, interrupted and resumed or not. The global random
    generators and PyTorch's number of threads are restored behind it.

    Args:
        experiment: What to run.
        folder: Where it is written; a new or empty folder, unless the run resumes.
        loggers: Where events go, besides the folder.
        data_root: Folder of the data sets; default: the platform's cache folder.
        resume: Go on where a run in the folder stopped; begin if there is none; only read the result if it finished.
        every: How often a checkpoint is written.

    Raises:
        ValueError: If the folder holds something else, data is missing, or the experiment cannot be run.
        Stopped: If a signal asked for the end; the run is saved then.
        OSError: If the folder cannot be written.
    """
    if (earlier := earlier_result(experiment, folder, Result.read, resume=resume)) is not None:
        return earlier
    preset = supervised_preset(experiment.preset)
    require_sets(preset.data, data_root)
    with seeded(experiment.seed), threads(preset.threads):
        loaded = _load(experiment, data_root)
        learner, sequence = loaded.learner, loaded.sequence

        def learn(loggers: Sequence[Logger[Event]], checkpointer: Checkpointer[SequenceProgress]) -> Result:
            history = learn_sequence(replace(learner, loggers=loggers, checkpointer=checkpointer), sequence)
            return Result(experiment, history, sequence.record, environment(learner.machine))

        ready = Ready(experiment, learner.model, learner.guard, SequenceProgress, learn)
        return run_ready(ready, folder, loggers, resume=resume, every=every)


def _load(experiment: Experiment, data_root: Path | None) -> LoadedRun:
    sequence = _sequence(experiment, data_root)
    return LoadedRun(experiment, sequence, _learner(experiment, sequence))


def _sequence(experiment: Experiment, data_root: Path | None) -> TaskSequence:
    preset = supervised_preset(experiment.preset)
    device = str(experiment.compute.find_device())
    options = replace(experiment.load_options(data_root), device=device)
    sequence = preset.sequence(experiment.seed, options)
    if experiment.tasks is not None and len(sequence.tasks) < experiment.tasks:
        raise ValueError(f"{experiment.preset} has {len(sequence.tasks)} tasks, {experiment.tasks} were asked for")
    return sequence


def _learner(experiment: Experiment, sequence: TaskSequence) -> Learner:
    model = supervised_preset(experiment.preset).model(sequence, experiment.width)
    machine = experiment.compute.resolve(model)
    model.to(machine.device)
    example_inputs = torch.zeros(2, *sequence.input_shape, device=machine.device)
    method = CPR(experiment.method, experiment.cpr) if experiment.cpr else experiment.method
    guard = protect(model, method, example_inputs=example_inputs, heads="heads")
    if experiment.compute.compile:
        model.compile()
    generator = torch.Generator().manual_seed(experiment.seed)
    joint = isinstance(experiment.method, Joint)
    live = experiment.compute.live
    return Learner(model, guard, experiment.training, generator, joint=joint, machine=machine, live=live)
