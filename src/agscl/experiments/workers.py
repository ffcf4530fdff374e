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
from contextlib import suppress
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


@dataclass
class _Worker:
    """A process and the jobs that it was given."""

    process: SpawnProcess
    connection: Connection
    position: int | None = None
    asked: bool = field(default=False)


def run_jobs(jobs: Sequence[Job[T]], processes: int) -> Iterator[Done[T] | Killed]:
    """Do jobs in worker processes of one thread each, and give each outcome as it comes.

    Args:
        jobs: What to do; they must be picklable, and so must what they give.
        processes: How many at once.

    Raises:
        Stopped: If a signal asked for the end; every worker had the time to save then. A second one ends all at once.
    """
    pending, attempts, interruption = deque(range(len(jobs))), [0] * len(jobs), Interruption()
    workers: list[_Worker] = []
    try:
        with interruption.watching():
            while pending or any(worker.position is not None for worker in workers):
                if interruption.number is not None:
                    _stop(workers, interruption.number)
                _assign(workers, pending, jobs, attempts, min(processes, len(jobs)))
                for worker in _ready(workers):
                    outcome = _outcome(worker, attempts)
                    if interruption.number is None:
                        if isinstance(outcome, Killed) and outcome.again:
                            pending.appendleft(outcome.position)
                        yield outcome
                workers = [worker for worker in workers if worker.process.is_alive() or worker.position is not None]
    finally:
        _end(workers)


def _assign(
    workers: list[_Worker], pending: deque[int], jobs: Sequence[Job[Any]], attempts: list[int], most: int
) -> None:
    """Give the next jobs to workers that are free, new ones if there are too few."""
    while pending:
        worker = next((worker for worker in workers if worker.position is None and worker.process.is_alive()), None)
        if worker is None:
            if len(workers) >= most:
                return
            worker = _started()
            workers.append(worker)
        worker.position = pending.popleft()
        with suppress(OSError):  # a worker that died meanwhile is noticed by its end
            worker.connection.send((jobs[worker.position], attempts[worker.position] > 0))
        attempts[worker.position] += 1


def _started() -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,))
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Workers at a job that have something to say or are gone."""
    busy = [worker for worker in workers if worker.position is not None]
    places: list[Any] = [place for worker in busy for place in (worker.connection, worker.process.sentinel)]
    found = wait(places, PATIENCE)
    return [worker for worker in busy if worker.connection in found or worker.process.sentinel in found]


def _outcome(worker: _Worker, attempts: Sequence[int]) -> Done[Any] | Killed:
    position, worker.position = worker.position, None
    assert position is not None
    with suppress(EOFError, OSError, pickle.UnpicklingError):
        if worker.connection.poll():
            result = worker.connection.recv()
            if not isinstance(result, Stopped):
                return Done(position, result)
            return Killed(position, signal.Signals(result.number).name, again=attempts[position] < TRIES)
    worker.process.join()
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


def _end(workers: Sequence[_Worker]) -> None:
    """End all workers: those that are idle hear that there is nothing more, those at a job are killed."""
    for worker in workers:
        worker.connection.close()
        if worker.position is not None:
            worker.process.kill()
    for worker in workers:
        worker.process.join(GRACE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


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
