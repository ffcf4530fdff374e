"""Many runs at once: a process for each, one thread in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agscl.runs import RunFolder

from .kind import AnyExperiment, AnyResult
from .kinds import require, run
from .workers import Killed, run_jobs


@dataclass(frozen=True)
class Failure:
    """A run that did not finish, and the reason in one line."""

    experiment: AnyExperiment
    reason: str


def say_nothing(experiment: AnyExperiment, reason: str) -> None:
    """Tell nobody that a run begins again."""


def run_many(
    experiments: Sequence[AnyExperiment],
    place: Callable[[AnyExperiment], RunFolder],
    *,
    processes: int,
    data_root: Path | None = None,
    resume: bool = False,
    retrying: Callable[[AnyExperiment, str], None] = say_nothing,
) -> Iterator[AnyResult | Failure]:
    """Run experiments in parallel and give each outcome as it comes; a failed run does not stop the others.

    No process outlives this one. A run whose process was killed, by a machine that lacks memory say, goes on once more
    from its last checkpoint.

    Args:
        experiments: What to run, of any kind.
        place: The folder of each run; a new or empty one, unless runs resume.
        processes: How many at once.
        data_root: Folder of the data sets; default: the platform's cache folder.
        resume: Go on where runs in those folders stopped; finished ones are only read.
        retrying: Told of a run that goes on once more, and why.

    Raises:
        ValueError: If there is less than one process, or data or a package is missing.
        Stopped: If a signal asked for the end; the runs at work are saved then.
    """
    if processes < 1:
        raise ValueError(f"at least one process is needed, got {processes}")
    require(experiments, data_root)
    jobs = [
        partial(_run, experiment, place(experiment), data_root=data_root, resume=resume) for experiment in experiments
    ]
    for outcome in run_jobs(jobs, processes):
        experiment = experiments[outcome.position]
        if isinstance(outcome, Killed) and outcome.again:
            retrying(experiment, f"its process was ended by {outcome.how}; it goes on once more")
        elif isinstance(outcome, Killed):
            yield Failure(experiment, f"its process was ended twice, by {outcome.how} (out of memory?)")
        elif isinstance(outcome.result, ValueError | OSError | RuntimeError | MemoryError):
            error = outcome.result
            yield Failure(experiment, " ".join(str(error).split()) or type(error).__name__)
        elif isinstance(outcome.result, BaseException):
            raise outcome.result
        else:
            yield outcome.result


def _run(
    experiment: AnyExperiment, folder: RunFolder, again: bool, *, data_root: Path | None, resume: bool
) -> AnyResult:
    return run(experiment, folder, data_root=data_root, resume=resume or again)
