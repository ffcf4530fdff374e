"""The kinds of runs, side by side: supervised and policies. A new kind is a room of its own and a row in `KINDS`.

What is above asks here and does not know how many kinds there are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from agscl.benchmarks.cache import Cache
from agscl.benchmarks.catalogue import CATALOGUE
from agscl.benchmarks.own.source import is_own
from agscl.benchmarks.raw import Report, no_report
from agscl.guard import CapacityWarning
from agscl.methods import AnyMethod
from agscl.runs import RunFolder
from agscl.runs.checkpoint import CheckpointFolder
from agscl.runs.checkpointer import EVERY, Checkpointer, Every
from agscl.runs.events import JsonLines, Logger
from agscl.runs.files import require_storable, write_bytes
from agscl.runs.machine import threads
from agscl.runs.random import seeded
from agscl.runs.tables import write_table

from . import outside
from .codec import unknown
from .digests import sealed
from .kind import AnyExperiment, AnyPreset, AnyResult, Ready
from .overrides import AS_PUBLISHED, Overrides
from .policies import run as policies
from .policies.experiment import PolicyExperiment
from .policies.presets import POLICY_PRESETS, PolicyPreset
from .policies.result import PolicyResult
from .states import TaskStates, write_state
from .supervised import run as supervised
from .supervised.experiment import Experiment
from .supervised.own import OwnData, own_data
from .supervised.presets import SUPERVISED_PRESETS, Preset
from .supervised.result import Result


@dataclass(frozen=True)
class RunKind:
    """One kind of run.

    Attributes:
        presets: The library's by name.
        preset: Their class.
        experiment: Its experiments.
        result: Their results.
        require: Refuses experiments whose data sets or packages are missing.
        load: An experiment that can begin, drawn from the global generators.
    """

    presets: Mapping[str, AnyPreset]
    preset: type[AnyPreset]
    experiment: type[AnyExperiment]
    result: type[AnyResult]
    require: Callable[[Sequence[Any], Path | None], None]
    load: Callable[[Any, Path | None], Ready]


KINDS = (
    RunKind(SUPERVISED_PRESETS, Preset, Experiment, Result, supervised.require, supervised.load),
    RunKind(POLICY_PRESETS, PolicyPreset, PolicyExperiment, PolicyResult, policies.require, policies.load),
)

PRESETS: Mapping[str, AnyPreset] = {name: preset for kind in KINDS for name, preset in kind.presets.items()}
"""All presets of the library by name."""


def preset_names() -> list[str]:
    """Names of all presets: the library's, and those that other packages offer."""
    return list(dict.fromkeys([*PRESETS, *outside.offered(outside.PRESETS)]))


def preset_named(name: str) -> AnyPreset:
    """The preset of that name, the library's or of another package.

    Raises:
        ValueError: If there is none, or another package's cannot be loaded.
    """
    if name in PRESETS:
        return PRESETS[name]
    if name not in outside.offered(outside.PRESETS):
        raise ValueError(unknown("preset", name, preset_names()))
    preset = outside.load(outside.PRESETS, name)
    if not isinstance(preset, AnyPreset):
        raise ValueError(f"{name!r} of {outside.PRESETS} is no preset, but of type {type(preset).__name__}")
    return preset


def experiment_of(
    preset: str | OwnData, method: AnyMethod, seed: int, overrides: Overrides = AS_PUBLISHED
) -> AnyExperiment:
    """A preset or own data with a method and a seed, as an experiment of its kind.

    Raises:
        ValueError: If something is unknown, out of range, or means nothing to this kind of run.
    """
    if isinstance(preset, OwnData):
        return Experiment.of_own(preset, method, seed, overrides)
    named = preset_named(preset)
    kind = next(kind for kind in KINDS if isinstance(named, kind.preset))
    return kind.experiment.of_preset(preset, method, seed, overrides)


@dataclass(frozen=True)
class Choice:
    """What a user asked to learn: a preset, or own data.

    Attributes:
        asked: Its name, or the own data, as `experiment_of` takes it.
        preset: All but the method and the seed.
        name: A name for folders and headings.
        found: What was found in own data, in one line; empty for a preset.
    """

    asked: str | OwnData
    preset: AnyPreset
    name: str
    found: str = ""


def choose(name: str, overrides: Overrides, data_root: Path | None = None, report: Report = no_report) -> Choice:
    """What a name on the command line asks to learn.

    Args:
        name: Of a preset or of an imported set, or where own data is, such as ``folder:PATH``.
        overrides: What is asked of it.
        data_root: Folder of the data sets; default: the platform's cache folder.
        report: Told about progress where own data has to be decoded.

    Raises:
        ValueError: If there is nothing of that name, or own data cannot be read right.
    """
    if name not in preset_names() and not is_own(name) and name not in CATALOGUE and name in Cache(data_root).names():
        name = f"set:{name}"
    if not is_own(name):
        preset = preset_named(name)
        overrides.require_preset()
        return Choice(name, preset, name)
    own, found = own_data(name, overrides, data_root, report)
    return Choice(own, own.preset, own.name.partition(":")[2], found)


def require(experiments: Iterable[AnyExperiment], data_root: Path | None = None) -> None:
    """Refuse experiments whose data sets or packages are missing.

    Raises:
        ValueError: If something is missing; says how to get it.
    """
    experiments = list(experiments)
    for kind in KINDS:
        kind.require([experiment for experiment in experiments if isinstance(experiment, kind.experiment)], data_root)


def run(
    experiment: AnyExperiment,
    folder: RunFolder,
    loggers: Sequence[Logger[Any]] = (),
    *,
    data_root: Path | None = None,
    resume: bool = False,
    every: Every = EVERY,
) -> AnyResult:
    """Run an experiment of any kind and write all of it into a folder.

    The same experiment gives the same numbers on the same machine, interrupted and resumed or not; but environments
    whose state cannot be kept (all but MinAtar's) begin new episodes where a run is resumed within a task, and the
    result says where. The global random generators and PyTorch's number of threads are restored behind it.

    Args:
        experiment: What to run.
        folder: Where it is written; a new or empty folder, unless the run resumes.
        loggers: Where events go, besides the folder.
        data_root: Folder of the data sets; default: the platform's cache folder.
        resume: Go on where a run in the folder stopped; begin if there is none; only read the result if it finished.
        every: How often a checkpoint is written; steps are optimizer steps, or updates of a policy.

    Raises:
        ValueError: If the folder holds something else, data or a package is missing, or the experiment cannot be run.
        Stopped: If a signal asked for the end; the run is saved then.
        OSError: If the folder cannot be written.
    """
    kind = next(kind for kind in KINDS if isinstance(experiment, kind.experiment))
    if _is_finished(experiment, folder, resume=resume):
        return kind.result.read(folder)
    require_storable(experiment.to_json())
    kind.require([experiment], data_root)
    with seeded(experiment.seed), warnings.catch_warnings(), threads(experiment.full.threads):
        warnings.simplefilter("ignore", CapacityWarning)  # the record says it, see `fullness`
        ready = kind.load(experiment, data_root)
        with folder.claimed(experiment.to_json(), resume=resume):
            checkpointer = Checkpointer(ready.progress, folder, every, ready.conditions)
            states = [TaskStates(folder, ready.model, ready.guard)] if experiment.keeps_states else []
            own: list[Logger[Any]] = [*states, JsonLines(folder.events)]
            with checkpointer.interruption.watching():
                result = ready.learn((*own, *loggers), checkpointer)
            if experiment.keeps_states:
                write_state(folder.state, ready.model, ready.guard)
            write_table(folder.evaluations, result.table())
            write_bytes(folder.result, sealed(folder, result.to_json()))
            folder.digests.unlink(missing_ok=True)
            checkpointer.checkpoints.clear()
            return result


def _is_finished(experiment: AnyExperiment, folder: RunFolder, *, resume: bool) -> bool:
    """Whether the folder holds the finished run; what it left behind if it was killed at its very end is removed."""
    if not resume:
        folder.require_free()
    if not folder.experiment.exists():
        return False
    begun = experiment.from_json(folder.experiment.read_bytes())
    names = [field.name for field in fields(experiment)]  # type: ignore[arg-type] # every kind of experiment is a dataclass
    if other := [name for name in names if getattr(begun, name) != getattr(experiment, name)]:
        raise ValueError(
            f"{folder.path} holds a run with another {' and '.join(other)}: give the options that it was begun with, "
            "or choose a new folder with --out"
        )
    if not folder.result.exists():
        return False
    with folder.claimed(experiment.to_json(), resume=True):
        CheckpointFolder(folder.checkpoints).clear()
        folder.digests.unlink(missing_ok=True)
    return True
