"""Engines: what does many runs, each an experiment and the folder that it is written into.

An engine gets runs one after the other, does some at once, and says which have ended; what a run found is read from
its folder, its result as well as its events while it goes on, so that an engine carries nothing but the end. A new
engine is an `Engine`, and a line in `engines.py`.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agscl.experiments.kind import AnyExperiment
from agscl.experiments.kinds import run
from agscl.experiments.workers import Cancelled, Killed, Pool, pool_of
from agscl.runs import RunFolder


@dataclass(frozen=True)
class Job:
    """A run to be done.

    Attributes:
        key: Its name, which no other job of the engine has.
        experiment: What to run.
        folder: Where it is written; what is there of it goes on.
    """

    key: str
    experiment: AnyExperiment
    folder: Path


@dataclass(frozen=True)
class Ended:
    """A job that will not go on.

    Attributes:
        key: Of the job.
        failure: Why its folder has no result, in one line; `None` if it has one, or the job was cancelled.
        cancelled: Whether it was given up; its folder may have a result all the same.
    """

    key: str
    failure: str | None = None
    cancelled: bool = False


class Engine(ABC):
    """Does runs. A run whose process or machine died goes on once more from its last checkpoint."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many runs are done at once: no more need to be submitted at a time."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Take a run, to be begun when there is room for it, or gone on with if its folder holds a part of it."""

    @abstractmethod
    def cancel(self, key: str) -> None:
        """Give up a run that has not ended: it is said to have ended soon, as cancelled, whatever it did meanwhile."""

    @abstractmethod
    def wait(self) -> Sequence[Ended]:
        """The runs that have ended since the last call; returns after a second at most, also with none.

        Raises:
            Stopped: If a signal asked for the end; every run has saved a checkpoint then.
            OSError: If a run could not be written: no other could.
        """


class Work(ABC):
    """Jobs of which new ones may follow from those that end."""

    @abstractmethod
    def jobs(self) -> Sequence[Job]:
        """All jobs that have not ended and can be begun, or are at work, the most urgent first."""

    @abstractmethod
    def take(self, ended: Ended) -> None:
        """Take the end of a job."""

    @abstractmethod
    def hopeless(self, running: Iterable[str]) -> Iterable[str]:
        """Keys of those of the running jobs that are not worth their end."""


def do_all(work: Work, engine: Engine) -> None:
    """Do jobs until there are none; those whose folder has their result already are not done again.

    Raises:
        ValueError: If a folder holds another run.
        Stopped: As `Engine.wait` does.
        OSError: As `Engine.wait` does.
    """
    running: set[str] = set()
    while True:
        waiting = [job for job in work.jobs() if job.key not in running]
        if not waiting and not running:
            return
        if done := [job for job in waiting if is_done(job)]:
            for job in done:
                work.take(Ended(job.key))
            continue
        for job in waiting[: max(0, engine.slots - len(running))]:
            engine.submit(job)
            running.add(job.key)
        for ended in engine.wait():
            running.remove(ended.key)
            work.take(ended)
        for key in work.hopeless(running):
            engine.cancel(key)


def is_done(job: Job) -> bool:
    """Whether the folder of a job holds its finished run.

    Raises:
        ValueError: If it holds another one.
    """
    folder = RunFolder(job.folder)
    if not folder.result.exists():
        return False
    if job.experiment.from_json(folder.experiment.read_bytes()) != job.experiment:
        raise ValueError(f"{folder.path} holds another run than this one: choose a new folder with --out")
    return True


@dataclass(frozen=True)
class EngineOptions:
    """What engines are made with.

    Attributes:
        jobs: Runs at once; `None`: one for each core, or all that fit on a cluster.
        data_root: Folder of the data sets; default: the platform's cache folder.
        address: Of a cluster; `None`: this machine.
        cpus: Of a cluster: cores for each run; `None`: one.
        gpus: Of a cluster: cards for each run, perhaps a share of one; `None`: none.
    """

    jobs: int | None = None
    data_root: Path | None = None
    address: str | None = None
    cpus: float | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise ValueError(f"--jobs must be at least 1, got {self.jobs}")
        for name, value in (("cpus", self.cpus), ("gpus", self.gpus)):
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"--trial-{name} must not be negative, got {value}")

    def require_none_of_a_cluster(self) -> None:
        """Refuse, with a `ValueError`, what is for a cluster alone."""
        for name, value in (("--address", self.address), ("--trial-cpus", self.cpus), ("--trial-gpus", self.gpus)):
            if value is not None:
                raise ValueError(f"{name} is for --engine ray")


class LocalEngine(Engine):
    """Processes of one thread each on this machine, see `agscl.experiments.workers`; a GPU is shared by all of them."""

    def __init__(self, pool: Pool[object], processes: int, data_root: Path | None) -> None:
        self._pool, self._processes, self._data_root = pool, processes, data_root
        self._positions: dict[str, int] = {}

    @property
    def slots(self) -> int:
        """Processes."""
        return self._processes

    def submit(self, job: Job) -> None:
        """Put a run behind those that wait."""
        self._positions[job.key] = self._pool.submit(partial(do_job, job, self._data_root))

    def cancel(self, key: str) -> None:
        """Give up a run; its process goes on with another one."""
        if key in self._positions:
            self._pool.cancel(self._positions[key])

    def wait(self) -> list[Ended]:
        """The runs that have ended."""
        keys = {position: key for key, position in self._positions.items()}
        ended = []
        for outcome in self._pool.wait():
            if isinstance(outcome, Killed) and outcome.again:
                continue
            key = keys[outcome.position]
            del self._positions[key]
            if isinstance(outcome, Cancelled):
                ended.append(Ended(key, cancelled=True))
            elif isinstance(outcome, Killed):
                ended.append(Ended(key, f"its process was ended twice, by {outcome.how} (out of memory?)"))
            else:
                ended.append(Ended(key, failure_of(outcome.result)))
        return ended


def failure_of(outcome: object) -> str | None:
    """Why a run has no result, in one line, from what it raised; `None` if it raised nothing.

    Raises:
        OSError: The same, if it was one: a full disk or a missing folder is no fault of the run.
        BaseException: The same, if it was a mistake of the programmer.
    """
    if isinstance(outcome, ValueError | RuntimeError | MemoryError):
        return " ".join(str(outcome).split()) or type(outcome).__name__
    if isinstance(outcome, BaseException):
        raise outcome
    return None


def do_job(job: Job, data_root: Path | None, again: bool = False) -> None:
    """Do a run in this process; what there is of it goes on."""
    run(job.experiment, RunFolder(job.folder), data_root=data_root, resume=True)


@contextmanager
def local_engine(options: EngineOptions) -> Iterator[Engine]:
    """Processes on this machine.

    Raises:
        ValueError: If an option is for a cluster.
    """
    options.require_none_of_a_cluster()
    processes = options.jobs or os.cpu_count() or 1
    with pool_of(processes) as pool:
        yield LocalEngine(pool, processes, options.data_root)
