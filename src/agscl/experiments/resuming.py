"""Whether a folder is new, holds a run to go on with, or one that is finished; the same for runs of every kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

from agscl.runs import RunFolder
from agscl.runs.checkpoint import CheckpointFolder

if TYPE_CHECKING:
    from .policies.experiment import PolicyExperiment
    from .supervised.experiment import Experiment

Found = TypeVar("Found")


def earlier_result(
    experiment: Experiment | PolicyExperiment, folder: RunFolder, read: Callable[[RunFolder], Found], *, resume: bool
) -> Found | None:
    """What a finished run in the folder wrote; `None` if there is a run to begin or to go on with.

    What a run that was killed at its very end left behind is removed.

    Args:
        experiment: What is to be run.
        folder: Where.
        read: Reads the result of a finished run.
        resume: Whether the folder may hold a run.

    Raises:
        ValueError: If the folder holds something else.
        OSError: If it cannot be read or written.
    """
    if not resume:
        folder.require_free()
    if not folder.experiment.exists():
        return None
    _require_same(experiment, folder)
    if not folder.result.exists():
        return None
    with folder.claimed(experiment.to_json(), resume=True):
        CheckpointFolder(folder.checkpoints).clear()
    return read(folder)


def _require_same(experiment: Experiment | PolicyExperiment, folder: RunFolder) -> None:
    """Refuse to go on with something else than what was begun."""
    kind = type(experiment)
    begun = kind.from_json(folder.experiment.read_bytes())
    other = [f.name for f in fields(kind) if getattr(begun, f.name) != getattr(experiment, f.name)]
    if other:
        raise ValueError(
            f"{folder.path} holds a run with another {' and '.join(other)}: give the options that it was begun with, "
            "or choose a new folder with --out"
        )
