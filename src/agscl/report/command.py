"""The command that repeats a run."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace

from agscl.experiments import Experiment, name_of, preset_named
from agscl.experiments.codec import INFINITY, method_to_json
from agscl.experiments.policies.experiment import PolicyExperiment
from agscl.training import Compute


def command(experiment: Experiment) -> str | None:
    """The `agscl run` command of an experiment, ready for a shell; `None` if only Python code can ask for it."""
    full, training = preset_named(experiment.preset).training, experiment.training
    if training != replace(full.with_epochs(training.epochs), on_divergence=training.on_divergence):
        return None
    words = ["agscl", "run", experiment.preset, "--method", name_of(experiment.method), *_method(experiment)]
    options = [*_changed(training, full, _TRAINING), *_changed(experiment, _plain(experiment), _EXPERIMENT)]
    machine = _changed(experiment.compute, Compute(), _COMPUTE)
    return shlex.join([*words, *options, *machine, f"--seed={experiment.seed}"])


def command_rl(experiment: PolicyExperiment) -> str | None:
    """The same of a run of reinforcement learning."""
    full, training = experiment.full.training, experiment.training
    if training != replace(full, steps=training.steps):
        return None
    words = ["agscl", "run", experiment.preset, "--method", name_of(experiment.method), *_method(experiment)]
    plain = PolicyExperiment(preset=experiment.preset, method=experiment.method, training=full)
    options = [*_changed(training, full, ["steps"]), *_changed(experiment, plain, ["tasks"])]
    machine = _changed(experiment.compute, Compute(), _COMPUTE)
    return shlex.join([*words, *options, *machine, f"--seed={experiment.seed}"])


_TRAINING = ("epochs", "on_divergence")
_EXPERIMENT = ("cpr", "tasks", "fraction", "width")
_COMPUTE = tuple(field.name for field in fields(Compute))


def _plain(experiment: Experiment) -> Experiment:
    """The same preset and method with nothing else asked for."""
    return Experiment(preset=experiment.preset, method=experiment.method, training=experiment.training)


def _method(experiment: Experiment | PolicyExperiment) -> Iterator[str]:
    for name, value in method_to_json(experiment.method).items():
        if name != "name":
            yield f"--method.{name}={'inf' if value == INFINITY else value}"


def _changed(asked: object, default: object, names: Iterable[str]) -> Iterator[str]:
    """Options for what is not as it is by default; a switch has no value."""
    for name in names:
        value = getattr(asked, name)
        if value != getattr(default, name):
            flag = f"--{name.replace('_', '-')}"
            yield flag if value is True else f"{flag}={value}"
