"""From an experiment to a result in a run folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from agscl.benchmarks.needed import require_sets
from agscl.benchmarks.task import TaskSequence
from agscl.guard import protect
from agscl.methods import CPR, Joint
from agscl.runs import RunFolder
from agscl.runs.files import write_bytes, write_tensors
from agscl.training import JsonLines, Learner, Sink, learn_sequence

from .experiment import Experiment
from .presets import preset_named
from .result import Result


def run(
    experiment: Experiment, folder: RunFolder, sinks: Sequence[Sink] = (), *, data_root: Path | None = None
) -> Result:
    """Run an experiment and write all of it into a folder.

    The same experiment gives the same numbers on the same machine. PyTorch's global generator and its number of
    threads are left as they were.

    Args:
        experiment: What to run.
        folder: Where it is written; a new or empty folder.
        sinks: Where events go, besides the folder.
        data_root: Folder of the data sets; default: the platform's cache folder.

    Raises:
        ValueError: If the folder holds something already, data is missing, or the experiment cannot be run.
        OSError: If the folder cannot be written.
    """
    folder.require_free()
    preset = preset_named(experiment.preset)
    require_sets(preset.data, data_root)
    with torch.random.fork_rng(), _threads(preset.threads):
        torch.manual_seed(experiment.seed)
        sequence = _sequence(experiment, data_root)
        learner = _learner(experiment, sequence, (JsonLines(folder.events), *sinks))
        folder.begin(experiment.to_json())
        result = Result(experiment, learn_sequence(learner, sequence), sequence.record)
    _write(result, learner, folder)
    return result


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Compute on so many CPU threads for as long as the context lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _sequence(experiment: Experiment, data_root: Path | None) -> TaskSequence:
    preset = preset_named(experiment.preset)
    sequence = preset.sequence(experiment.seed, experiment.load_options(data_root))
    if experiment.tasks is not None and len(sequence.tasks) < experiment.tasks:
        raise ValueError(f"{experiment.preset} has {len(sequence.tasks)} tasks, {experiment.tasks} were asked for")
    return sequence


def _learner(experiment: Experiment, sequence: TaskSequence, sinks: Sequence[Sink]) -> Learner:
    model = preset_named(experiment.preset).model(sequence)
    machine = experiment.compute.resolve(model)
    model.to(machine.device)
    example_inputs = torch.zeros(2, *sequence.input_shape, device=machine.device)
    method = CPR(experiment.method, experiment.cpr) if experiment.cpr else experiment.method
    guard = protect(model, method, example_inputs=example_inputs, heads="heads")
    generator = torch.Generator().manual_seed(experiment.seed)
    joint = isinstance(experiment.method, Joint)
    return Learner(model, guard, experiment.training, generator, sinks, joint, machine)


def _write(result: Result, learner: Learner, folder: RunFolder) -> None:
    model = {f"model.{name}": tensor for name, tensor in learner.model.state_dict().items()}
    guard = {f"guard.{name}": tensor for name, tensor in learner.guard.state_dict().items()}
    write_tensors(folder.state, {**model, **guard})
    write_bytes(folder.result, result.to_json())
