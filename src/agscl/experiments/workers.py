"""Worker processes that die cleanly: none outlives its parent, a killed one is replaced once, a signal reaches all."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

import torch

from agscl.runs.interruption import Interruption, Stopped

ORPHANED = 111
"""Exit code of a worker whose parent is gone."""

PATIENCE = 0.2
"""Seconds between two looks at the signals."""

GRACE = 60.0
"""Seconds that workers have to save when they are asked to stop."""

TRIES = 2
"""How often a job is begun whose workers are ended from outside."""

T = TypeVar("T")
Job = Callable[[bool], T]
"""What a worker does; told whether a worker before it was killed at it."""


@dataclass(frozen=True)
class Done(Generic[T]):
    """A job that ended by itself.

    Attributes:
        position: Of the job, from 0.
        result: What it gave, or the error that it raised.
    """

    position: int
    result: T | BaseException


@dataclass(frozen=True)
class Killed:
    """A worker that was ended from outside while it was at a job.

    Attributes:
        position: Of the job, from 0.
        how: What ended it, such as ``SIGKILL``.
        again: Whether the job is tried once more.
    """

    position: int
    how: str
    again: bool


@dataclass(frozen=True)
class Cancelled:
    """A job that was given up before it ended, or just as it did.

    Attributes:
        position: Of the job, from 0.
    """

    position: int


@dataclass
class _Worker:
    """A process and the job that it was given."""

    process: SpawnProcess
    connection: Connection
    position: int | None = None
    cancelled: bool = field(default=False)


def run_jobs(jobs: Sequence[Job[T]], processes: int) -> Iterator[Done[T] | Killed]:
    """Do jobs in worker processes of one thread each, and give each outcome as it comes.

    Args:
        jobs: What to do; they must be picklable, and so must what they give.
        processes: How many at once.

    Raises:
        Stopped: If a signal asked for the end; every worker had the time to save then. A second one ends all at once.
    """
    with pool_of(min(processes, len(jobs))) as pool:
        for job in jobs:
            pool.submit(job)
        while pool.busy:
            for outcome in pool.wait():
                assert not isinstance(outcome, Cancelled), "nothing was cancelled"
                yield outcome


@contextmanager
def pool_of(processes: int) -> Iterator[Pool[Any]]:
    """Worker processes within the context, started as there are jobs for them; at its end all of them end.

    Ctrl-C and SIGTERM are taken within the context, and heard by `Pool.wait`.
    """
    interruption = Interruption()
    pool: Pool[Any] = Pool(processes, interruption)
    try:
        with interruption.watching():
            yield pool
    finally:
        pool.end()


class Pool(Generic[T]):
    """Worker processes of one thread each that do jobs in the order in which they come; see `pool_of`.

    Args:
        processes: How many at once.
        interruption: Says whether a signal asked for the end.
    """

    def __init__(self, processes: int, interruption: Interruption) -> None:
        self._most, self._interruption = processes, interruption
        self._jobs: list[Job[T] | None] = []  # those that have ended are forgotten
        self._attempts: list[int] = []
        self._pending: deque[int] = deque()
        self._given_up: list[int] = []
        self._workers: list[_Worker] = []

    @property
    def busy(self) -> bool:
        """Whether there are jobs that have not ended."""
        at_work = any(worker.position is not None for worker in self._workers)
        return bool(self._pending or self._given_up or at_work)

    def submit(self, job: Job[T]) -> int:
        """Take a job, which must be picklable, as must be what it gives; returns its position, counted from 0."""
        self._jobs.append(job)
        self._attempts.append(0)
        self._pending.append(len(self._jobs) - 1)
        return len(self._jobs) - 1

    def cancel(self, position: int) -> None:
        """Give up a job that has not ended: its outcome will be `Cancelled`, whatever it did meanwhile.

        One that is at work is asked to stop, by SIGTERM.
        """
        if position in self._pending:
            self._pending.remove(position)
            self._given_up.append(position)
        for worker in self._workers:
            if worker.position == position and not worker.cancelled:
                worker.cancelled = True
                worker.process.terminate()

    def wait(self) -> list[Done[T] | Killed | Cancelled]:
        """The outcomes that there are, after a short time at most; a job that was killed once goes on by itself.

        Raises:
            Stopped: If a signal asked for the end; every worker had the time to save then.
        """
        if self._interruption.number is not None:
            _stop(self._workers, self._interruption.number)
        self._assign()
        outcomes: list[Done[T] | Killed | Cancelled] = [Cancelled(position) for position in self._given_up]
        self._given_up = []
        for worker in _ready(self._workers, 0 if outcomes else PATIENCE):
            outcome = _outcome(worker, self._attempts)
            if self._interruption.number is not None:  # it was perhaps the signal: the next call stops
                continue
            if isinstance(outcome, Killed) and outcome.again:
                self._pending.appendleft(outcome.position)
            else:
                self._jobs[outcome.position] = None
            outcomes.append(outcome)
        self._workers = [one for one in self._workers if one.process.is_alive() or one.position is not None]
        return outcomes

    def end(self) -> None:
        """End all workers: those that are idle hear that there is nothing more, those at a job are killed."""
        for worker in self._workers:
            worker.connection.close()
            if worker.position is not None:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(GRACE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _assign(self) -> None:
        """Give the next jobs to workers that are free, new ones if there are too few."""
        while self._pending:
            free = (one for one in self._workers if one.position is None and one.process.is_alive())
            worker = next((one for one in free if not one.cancelled), None)
            if worker is None:
                if sum(not one.cancelled or one.position is not None for one in self._workers) >= self._most:
                    return
                worker = _started()
                self._workers.append(worker)
            worker.position = self._pending.popleft()
            with suppress(OSError):  # a worker that died meanwhile is noticed by its end
                worker.connection.send((self._jobs[worker.position], self._attempts[worker.position] > 0))
            self._attempts[worker.position] += 1


def _started() -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,))
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _ready(workers: Sequence[_Worker], patience: float) -> list[_Worker]:
    """Workers at a job that have something to say or are gone, after as many seconds at most."""
    busy = [worker for worker in workers if worker.position is not None]
    places: list[Any] = [place for worker in busy for place in (worker.connection, worker.process.sentinel)]
    found = wait(places, patience)
    return [worker for worker in busy if worker.connection in found or worker.process.sentinel in found]


def _outcome(worker: _Worker, attempts: Sequence[int]) -> Done[Any] | Killed | Cancelled:
    position, worker.position = worker.position, None
    assert position is not None
    with suppress(EOFError, OSError, pickle.UnpicklingError):
        if worker.connection.poll():
            result = worker.connection.recv()
            if worker.cancelled:
                if not isinstance(result, Stopped):
                    worker.connection.close()  # the signal came too late for the job, and must not reach another
                worker.cancelled = not isinstance(result, Stopped)
                return Cancelled(position)
            if not isinstance(result, Stopped):
                return Done(position, result)
            return Killed(position, signal.Signals(result.number).name, again=attempts[position] < TRIES)
    worker.process.join()
    if worker.cancelled:
        return Cancelled(position)
    code = worker.process.exitcode or 0
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return Killed(position, how, again=attempts[position] < TRIES)


def _stop(workers: Sequence[_Worker], number: int) -> None:
    """Ask all workers to save and stop, wait for them, and tell of it.

    Raises:
        Stopped: When they did.
    """
    for worker in workers:
        if worker.process.is_alive():
            worker.process.terminate()
    said, deadline = "stopped; go on with --resume", time.monotonic() + GRACE
    for worker in workers:
        while worker.position is not None and worker.process.is_alive() and time.monotonic() < deadline:
            with suppress(EOFError, OSError):
                if worker.connection.poll(PATIENCE):
                    worker.connection.recv()
                    worker.position = None
    raise Stopped(number, said)


def _serve(connection: Connection) -> None:
    """Do jobs until there are no more, or the parent is gone."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C in a terminal goes to the parent, which passes it on once
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    while True:
        try:
            job, again = connection.recv()
        except (EOFError, OSError):
            return
        try:
            result = job(again)
        except Exception as error:  # the parent decides what it means
            result = error
        try:
            connection.send(result)
        except (TypeError, AttributeError, pickle.PicklingError):
            connection.send(RuntimeError(" ".join(str(result).split()) or type(result).__name__))


def _leave_with_parent() -> None:
    """End this process at once when its parent is gone: what it was at goes on from its last checkpoint."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(ORPHANED)
