"""The command that repeats a run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace

from .codec import INFINITY, method_options
from .kind import AnyExperiment
from .overrides import AS_PUBLISHED


def command(experiment: AnyExperiment) -> str | None:
    """The `agscl run` command of an experiment, ready for a shell; `None` if only Python code can ask for it."""
    overrides = experiment.overrides
    if experiment.again(overrides) != experiment:
        return None
    changed = _changed(replace(overrides, tuning=None), AS_PUBLISHED)  # chosen values are given as any others
    options = method_options(experiment.method).items()
    method = [f"--method.{name}={'inf' if value == INFINITY else value}" for name, value in options]
    words = ["agscl", "run", experiment.asked_for, "--method", experiment.method_name, *method]
    return shlex.join([*words, *changed, f"--seed={experiment.seed}"])


def _changed(values: object, defaults: object) -> Iterator[str]:
    """Options for values that are not the default; a switch has no value."""
    for field in fields(values):  # type: ignore[arg-type] # overrides, and the parts of them that are dataclasses
        value, default = getattr(values, field.name), getattr(defaults, field.name)
        if is_dataclass(value):
            yield from _changed(value, default)
        elif value != default:
            flag = f"--{field.name.replace('_', '-')}"
            yield flag if value is True else f"{flag}={value}"
