"""A supervised experiment, loaded so that it can begin."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import torch

from agscl.benchmarks.cache import require_sets
from agscl.benchmarks.options import LoadOptions
from agscl.benchmarks.sampling import order
from agscl.benchmarks.task import TaskSequence
from agscl.experiments.kind import Ready
from agscl.experiments.result_file import environment
from agscl.guard import protect
from agscl.methods import AGSCL, CPR, Joint
from agscl.methods.agscl.penalty import lasso_reach
from agscl.models import MultiHead
from agscl.runs.checkpointer import Checkpointer, Conditions
from agscl.runs.events import Logger
from agscl.runs.random import seeded
from agscl.training import Event, Learner, SequenceProgress, learn_sequence

from .experiment import Experiment
from .presets import Preset
from .result import Result

COPIES = 4
"""Of the weights, that training takes at least: weights, gradients, and what Adam keeps."""


@dataclass(frozen=True)
class LoadedRun:
    """The tasks of an experiment and its learner (model, guard and settings): untrained, as a run begins."""

    experiment: Experiment
    sequence: TaskSequence
    learner: Learner

    @property
    def lasso_reach(self) -> float | None:
        """Of AGS-CL, before anything is learned: how far its group Lasso can get within a task."""
        method, training, train = self.experiment.method, self.experiment.training, self.sequence.tasks[0].train
        if not isinstance(method, AGSCL) or method.proximal == "gradient":
            return None
        steps = training.epochs * (ceil(len(train) / training.batch_size) if method.proximal == "step" else 1)
        state = self.learner.model.state_dict()
        return lasso_reach(self.learner.guard.graph, state, method.mu, steps * training.learning_rate)


def load_run(experiment: Experiment, data_root: Path | None = None) -> LoadedRun:
    """The tasks, model and guard of an experiment, such as what a run folder holds, drawn by its seed.

    Raises:
        ValueError: If data is missing, or the experiment cannot be run.
    """
    require([experiment], data_root)
    with seeded(experiment.seed):
        return _load(experiment, data_root)


def require(experiments: Sequence[Experiment], data_root: Path | None = None) -> None:
    """Refuse experiments whose data sets are missing, and say how to get them."""
    names = [name for experiment in experiments for name in experiment.full.data]
    require_sets(dict.fromkeys(names), data_root)


def load(experiment: Experiment, data_root: Path | None = None) -> Ready:
    """An experiment that can begin, drawn from the global generators."""
    loaded = _load(experiment, data_root)
    learner, sequence, reach = loaded.learner, loaded.sequence, loaded.lasso_reach

    def learn(loggers: Sequence[Logger[Event]], checkpointer: Checkpointer[SequenceProgress]) -> Result:
        history = learn_sequence(replace(learner, loggers=loggers, checkpointer=checkpointer), sequence)
        return Result(experiment, history, sequence.record, checkpointer.environment, reach)

    conditions = Conditions(environment(learner.machine), json.dumps(sequence.record, sort_keys=True))
    return Ready(learner.model, learner.guard, SequenceProgress, learn, conditions)


def sequence_of(experiment: Experiment, options: LoadOptions) -> TaskSequence:
    """The tasks of an experiment, drawn by its seeds.

    Raises:
        ValueError: If data is missing, or the options do not fit it.
    """
    preset, sequence = experiment.full, None
    if experiment.order_seed is None:
        sequence = preset.sequence(experiment.seed, options)
    else:
        sequence = reordered(preset.sequence(experiment.seed, replace(options, tasks=None)), experiment.order_seed)
        used = len(sequence.tasks[: options.tasks])
        less = bool(sequence.record.get("scaled_down")) or used < len(sequence.tasks)
        record = {**sequence.record, "tasks": used, "scaled_down": less}
        sequence = replace(sequence, tasks=sequence.tasks[:used], record=record)
    if experiment.evaluated_on == "validation":
        sequence = replace(sequence, tasks=tuple(replace(task, test=task.validation) for task in sequence.tasks))
    return sequence


def reordered(sequence: TaskSequence, seed: int) -> TaskSequence:
    """The same tasks in an order drawn by a seed, which is in the record as positions in the old one."""
    positions = order(len(sequence.tasks), seed, "order of tasks")
    tasks = tuple(sequence.tasks[position] for position in positions)
    return replace(sequence, tasks=tasks, record={**sequence.record, "reordered": positions})


def _require_examples(name: str, sequence: TaskSequence) -> None:
    """Refuse a sequence one of whose tasks could not be learned or tested, before the first is learned."""
    for task in sequence.tasks:
        for what, part in (("train", task.train), ("validate", task.validation), ("test", task.test)):
            if not len(part):
                raise ValueError(f"{name}: {task.name!r} has no example to {what} with")


def _network(preset: Preset, sequence: TaskSequence, width: float) -> MultiHead:
    """The preset's network; a `ValueError` if it is wider than the memory of any machine like this."""
    if width > 1:
        try:
            with torch.random.fork_rng(devices=[]), torch.device("meta"):
                size = sum(tensor.nbytes for tensor in preset.model(sequence, width).state_dict().values())
        except (RuntimeError, TypeError, OverflowError) as error:
            raise ValueError(f"width {width:g}: no network is as wide: {str(error).partition(chr(10))[0]}") from error
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else size
        if COPIES * size > memory:
            raise ValueError(f"width {width:g}: training takes {COPIES * size:,} bytes, this machine has {memory:,}")
    try:
        return preset.model(sequence, width)
    except (RuntimeError, MemoryError) as error:
        reason = str(error).partition(chr(10))[0]
        raise ValueError(f"width {width:g}: the network cannot be made: {reason}") from error


def _load(experiment: Experiment, data_root: Path | None) -> LoadedRun:
    preset, compute = experiment.full, experiment.compute
    options = replace(experiment.load_options(data_root), device=str(compute.find_device()))
    sequence = sequence_of(experiment, options)
    if experiment.tasks is not None and len(sequence.tasks) < experiment.tasks:
        raise ValueError(f"{experiment.preset} has {len(sequence.tasks)} tasks, {experiment.tasks} were asked for")
    _require_examples(experiment.preset, sequence)
    model = _network(preset, sequence, experiment.width)
    machine = compute.resolve(model)
    model.to(machine.device)
    example_inputs = torch.zeros(2, *sequence.input_shape, device=machine.device)
    method = CPR(experiment.method, experiment.cpr) if experiment.cpr else experiment.method
    learner = Learner(
        model=model,
        guard=protect(model, method, example_inputs=example_inputs, heads="heads"),
        training=experiment.training,
        generator=torch.Generator().manual_seed(experiment.seed),
        joint=isinstance(experiment.method, Joint),
        machine=machine,
        live=compute.live,
    )
    if compute.compile:
        model.compile()
    return LoadedRun(experiment, sequence, learner)
