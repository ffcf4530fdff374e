"""What ``agscl run`` does: check everything, run each method, show and draw the results."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rich.console import Console

from agscl.experiments import Experiment, Result, name_of, preset_named, run
from agscl.experiments.policies.presets import RL_PRESETS
from agscl.extras import MissingExtraError
from agscl.figures.summary import picture
from agscl.runs import RunFolder
from agscl.runs.files import write_bytes
from agscl.training import tensorboard

from . import reinforcement
from .progress import progress
from .request import Request, asked_methods
from .tables import show


def start(request: Request) -> None:
    """Run what was asked for, and show it.

    Raises:
        ValueError: If something in the request is unknown or out of range.
        Stopped: If a signal asked for the end; what ran is saved then.
        OSError: If the run folder cannot be written.
    """
    if request.resume and request.out is None:
        raise ValueError("--resume needs --out: the folder of the run that is to go on")
    folder = RunFolder(request.out or _new_folder(request.preset))
    if not request.resume:
        folder.require_free()
    if request.preset in RL_PRESETS:
        if request.tensorboard:
            raise ValueError("--tensorboard knows supervised presets alone: see events.jsonl in the run folder")
        reinforcement.start(request, folder)
        return
    experiments = _experiments(request)
    results = [_run(experiment, folder, request) for experiment in experiments]
    console = Console()
    show(console, results)
    console.print(_draw(results, folder), highlight=False, markup=False, soft_wrap=True)


def _draw(results: Sequence[Result], folder: RunFolder) -> str:
    """Draw the picture if matplotlib is there; returns the line that says where things are."""
    try:
        write_bytes(folder.picture, picture(results))
    except MissingExtraError as error:
        return f"run folder: {folder.path} (no picture: {error})"
    return f"run folder: {folder.path}, picture: {folder.picture}"


def _experiments(request: Request) -> list[Experiment]:
    preset = preset_named(request.preset)
    plain = [
        request.scale.experiment(request.preset, method, request.seed) for method in asked_methods(request, preset)
    ]
    return [replace(experiment, cpr=request.cpr) for experiment in plain]


def _new_folder(preset: str) -> Path:
    return Path("runs") / f"{preset}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"


def _folder_of(experiment: Experiment, folder: RunFolder, request: Request) -> RunFolder:
    """The folder itself for one method, a folder inside for each of several."""
    return folder if request.method else RunFolder(folder.path / name_of(experiment.method))


def _run(experiment: Experiment, folder: RunFolder, request: Request) -> Result:
    place = _folder_of(experiment, folder, request)
    with ExitStack() as stack:
        sinks = [stack.enter_context(progress(Console(stderr=True), name_of(experiment.method)))]
        if request.tensorboard:
            sinks.append(stack.enter_context(tensorboard(place.tensorboard)))
        return run(
            experiment,
            place,
            sinks,
            data_root=request.scale.data_root,
            resume=request.resume,
            every=request.every,
        )
