"""The kinds of runs, side by side: supervised and policies. A new kind is a room of its own and a case here.

What is above asks here and does not know how many kinds there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agscl.benchmarks.needed import require_sets
from agscl.extras import require as require_package
from agscl.methods import AnyMethod
from agscl.runs import RunFolder
from agscl.runs.checkpointer import EVERY, Every

from .kind import AnyExperiment, AnyPreset, AnyResult
from .overrides import AS_PUBLISHED, Overrides
from .policies.experiment import PolicyExperiment
from .policies.presets import POLICY_PRESETS
from .policies.run import run_policies
from .supervised.experiment import Experiment
from .supervised.presets import SUPERVISED_PRESETS, supervised_preset
from .supervised.run import run as run_supervised

PRESETS: Mapping[str, AnyPreset] = {**SUPERVISED_PRESETS, **POLICY_PRESETS}
"""All presets by name."""


def preset_named(name: str) -> AnyPreset:
    """The preset of that name.

    Raises:
        ValueError: If there is none.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]


def experiment_of(preset: str, method: AnyMethod, seed: int, overrides: Overrides = AS_PUBLISHED) -> AnyExperiment:
    """A preset with a method and a seed, as an experiment of the preset's kind.

    Raises:
        ValueError: If something is unknown, out of range, or means nothing to this kind of run.
    """
    preset_named(preset)
    kind: type[AnyExperiment] = PolicyExperiment if preset in POLICY_PRESETS else Experiment
    return kind.of_preset(preset, method, seed, overrides)


def require(experiments: Iterable[AnyExperiment], data_root: Path | None = None) -> None:
    """Refuse experiments whose data sets or packages are missing.

    Raises:
        ValueError: If something is missing; says how to get it.
    """
    experiments = list(experiments)
    supervised = [experiment for experiment in experiments if isinstance(experiment, Experiment)]
    require_sets({name: None for e in supervised for name in supervised_preset(e.preset).data}, data_root)
    if len(supervised) < len(experiments):
        require_package("stable_baselines3", extra="rl")


def run(
    experiment: AnyExperiment,
    folder: RunFolder,
    loggers: Sequence[Any] = (),
    *,
    data_root: Path | None = None,
    resume: bool = False,
    every: Every = EVERY,
) -> AnyResult:
    """Run an experiment of any kind and write all of it into a folder.

    Args:
        experiment: What to run.
        folder: Where it is written; a new or empty folder, unless the run resumes.
        loggers: Where events go, besides the folder.
        data_root: Folder of the data sets; default: the platform's cache folder.
        resume: Go on where a run in the folder stopped; begin if there is none; only read the result if it finished.
        every: How often a checkpoint is written.

    Raises:
        ValueError: If the folder holds something else, data or a package is missing, or the experiment cannot be run.
        Stopped: If a signal asked for the end; the run is saved then.
        OSError: If the folder cannot be written.
    """
    match experiment:
        case Experiment():
            return run_supervised(experiment, folder, loggers, data_root=data_root, resume=resume, every=every)
        case PolicyExperiment():
            return run_policies(experiment, folder, loggers, resume=resume, every=every)
    raise AssertionError(f"no kind of run has experiments of type {type(experiment).__name__}")
