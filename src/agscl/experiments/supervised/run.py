"""From an experiment to a result in a run folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from agscl.benchmarks.cache import require_sets
from agscl.benchmarks.task import TaskSequence
from agscl.experiments.resuming import earlier_result
from agscl.experiments.states import TaskStates, write_state
from agscl.guard import protect
from agscl.methods import CPR, Joint
from agscl.runs import RunFolder
from agscl.runs.checkpoint import CheckpointFolder
from agscl.runs.files import write_bytes
from agscl.runs.random import seeded
from agscl.runs.tables import evaluations, write_table
from agscl.training import Every, History, Interruption, JsonLines, Keeper, Learner, Sink, learn_sequence

from .experiment import Experiment
from .presets import preset_named
from .result import Result, environment

if TYPE_CHECKING:
    from polars import DataFrame

EVERY = Every()


@dataclass(frozen=True)
class LoadedRun:
    """What an experiment learns, and who learns it: untrained, as a run begins.

    Attributes:
        experiment: What was asked.
        sequence: The tasks.
        learner: Model, guard and settings.
    """

    experiment: Experiment
    sequence: TaskSequence
    learner: Learner


def load_run(experiment: Experiment, data_root: Path | None = None) -> LoadedRun:
    """The tasks, model and guard of an experiment, drawn by its seed.

    Args:
        experiment: What was asked, such as what a run folder holds.
        data_root: Folder of the data sets; default: the platform's cache folder.

    Raises:
        ValueError: If data is missing, or the experiment cannot be run.
    """
    require_sets(preset_named(experiment.preset).data, data_root)
    with seeded(experiment.seed):
        return _load(experiment, data_root)


def run(
    experiment: Experiment,
    folder: RunFolder,
    sinks: Sequence[Sink] = (),
    *,
    data_root: Path | None = None,
    resume: bool = False,
    every: Every = EVERY,
) -> Result:
    """Run an experiment and write all of it into a folder.

    The same experiment gives the same numbers on the same machine, interrupted and resumed or not. The global random
    generators and PyTorch's number of threads are left as they were.

    Args:
        experiment: What to run.
        folder: Where it is written; a new or empty folder, unless the run resumes.
        sinks: Where events go, besides the folder.
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
    preset = preset_named(experiment.preset)
    require_sets(preset.data, data_root)
    with seeded(experiment.seed), threads(preset.threads):
        loaded = _load(experiment, data_root)
        with folder.claimed(experiment.to_json(), resume=resume):
            return _learn(loaded, folder, sinks, every)


def _learn(loaded: LoadedRun, folder: RunFolder, sinks: Sequence[Sink], every: Every) -> Result:
    interruption, checkpoints = Interruption(), CheckpointFolder(folder.checkpoints)
    model, guard = loaded.learner.model, loaded.learner.guard
    learner = replace(
        loaded.learner,
        sinks=(TaskStates(folder, model, guard), JsonLines(folder.events), *sinks),
        keeper=Keeper(checkpoints, folder.events, every, interruption),
    )
    with interruption.watching():
        history = learn_sequence(learner, loaded.sequence)
    result = Result(loaded.experiment, history, loaded.sequence.record, environment(learner.machine))
    write_state(folder.state, model, guard)
    write_table(folder.evaluations, _evaluations(history))
    write_bytes(folder.result, result.to_json())
    checkpoints.clear()
    return result


def _evaluations(history: History) -> DataFrame:
    return evaluations([task.accuracy for task in history.tasks], [task.name for task in history.tasks])


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Compute on so many CPU threads for as long as the context lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _load(experiment: Experiment, data_root: Path | None) -> LoadedRun:
    sequence = _sequence(experiment, data_root)
    return LoadedRun(experiment, sequence, _learner(experiment, sequence))


def _sequence(experiment: Experiment, data_root: Path | None) -> TaskSequence:
    preset = preset_named(experiment.preset)
    device = str(experiment.compute.find_device())
    options = replace(experiment.load_options(data_root), device=device)
    sequence = preset.sequence(experiment.seed, options)
    if experiment.tasks is not None and len(sequence.tasks) < experiment.tasks:
        raise ValueError(f"{experiment.preset} has {len(sequence.tasks)} tasks, {experiment.tasks} were asked for")
    return sequence


def _learner(experiment: Experiment, sequence: TaskSequence) -> Learner:
    model = preset_named(experiment.preset).model(sequence, experiment.width)
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
