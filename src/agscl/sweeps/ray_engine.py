"""Ray: the same runs on a cluster. Every node sees the run folders and the data at the same paths.

A run whose worker or node died goes on from its last checkpoint on another; one that is cancelled, or whose driver is
asked to stop, saves a checkpoint first.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import torch

from agscl.experiments.workers import GRACE, PATIENCE, TRIES
from agscl.extras import require
from agscl.runs.interruption import Interruption, Stopped
from agscl.runs.lock import is_held

from .engine import Ended, Engine, EngineOptions, Job, do_job, failure_of

HELD = 120.0
"""Seconds that a run waits for a folder whose last process is still ending, on another machine perhaps."""

STORE = 100 * 2**20
"""Bytes of Ray's store on this machine: runs exchange nothing but their end."""

STARTS = 3
"""Attempts to start a cluster on this machine."""

ANSWER = 10.0
"""Seconds that a cluster may take to answer at all."""

MOST_LOST = 100
"""Nodes that a run may lose: machines that are taken back are no fault of its own."""


class RayEngine(Engine):
    """Runs as tasks of a Ray cluster.

    Args:
        ray: The module, connected.
        options: Of the engine.
        interruption: Says whether a signal asked for the end.
    """

    def __init__(self, ray: Any, options: EngineOptions, interruption: Interruption) -> None:
        self._ray, self._options, self._interruption = ray, options, interruption
        self._cpus, self._gpus = 1.0 if options.cpus is None else options.cpus, options.gpus or 0.0
        self._run = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=0)(_do)
        self._jobs: dict[str, Job] = {}
        self._references: dict[Any, str] = {}
        self._died: dict[str, int] = {}
        self._lost: dict[str, int] = {}
        self._cancelled: set[str] = set()

    @property
    def slots(self) -> int:
        """As many as were asked for, or as fit on the cluster now, one at least."""
        if self._options.jobs is not None:
            return self._options.jobs
        here, need = self._ray.cluster_resources(), {"CPU": self._cpus, "GPU": self._gpus}
        fitting = [int(here.get(name, 0) / each) for name, each in need.items() if each]
        return max(1, min(fitting, default=1))

    def submit(self, job: Job) -> None:
        """Give a run to the cluster."""
        self._jobs[job.key] = job
        self._references[self._run.remote(job, self._options.data_root)] = job.key

    def cancel(self, key: str) -> None:
        """Interrupt a run, as Ctrl-C does; one that waits never begins."""
        if key in self._jobs and key not in self._cancelled:
            self._cancelled.add(key)
            self._interrupt(key)

    def _interrupt(self, key: str) -> None:
        for reference in [reference for reference, own in self._references.items() if own == key]:
            self._ray.cancel(reference, force=False)

    def wait(self) -> list[Ended]:
        """The runs that have ended."""
        if self._interruption.number is not None:
            self._stop(self._interruption.number)
        ended = []
        for key, outcome in self._outcomes(PATIENCE):
            if key in self._cancelled:
                self._forget(key)
                ended.append(Ended(key, cancelled=True))
            elif (how := self._death(outcome)) is None:
                self._forget(key)
                ended.append(Ended(key, failure_of(outcome)))
            elif self._goes_on(key, outcome):
                self.submit(self._jobs[key])
            else:
                self._forget(key)
                ended.append(Ended(key, f"its worker was ended twice: {how} (out of memory?)"))
        return ended

    def _outcomes(self, seconds: float) -> list[tuple[str, object]]:
        """What came of the runs that ended: an error, or nothing."""
        if not self._references:
            time.sleep(seconds)
            return []
        waiting = list(self._references)
        ready, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=seconds)
        found: list[tuple[str, object]] = []
        for reference in ready:
            key, outcome = self._references.pop(reference), None
            try:
                outcome = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                outcome = error
            found.append((key, outcome))
        return found

    def _death(self, outcome: object) -> str | None:
        """How a worker died, in one line; `None` if it did not."""
        errors = self._ray.exceptions
        if isinstance(outcome, errors.RayError):
            return " ".join(str(outcome).split())[:200] or type(outcome).__name__
        if isinstance(outcome, Stopped):
            return f"it was ended by {signal.Signals(outcome.number).name}"
        return None

    def _goes_on(self, key: str, outcome: object) -> bool:
        """Whether a run whose worker died is tried again: it may lose many nodes, and one process."""
        lost = isinstance(outcome, self._ray.exceptions.NodeDiedError)
        deaths, most = (self._lost, MOST_LOST) if lost else (self._died, TRIES)
        deaths[key] = deaths.get(key, 0) + 1
        return deaths[key] < most

    def _forget(self, key: str) -> None:
        self._jobs.pop(key, None)
        self._cancelled.discard(key)

    def _stop(self, number: int) -> None:
        """Interrupt all runs, wait until they have saved, and tell of it.

        Raises:
            Stopped: When they did.
        """
        for key in list(self._references.values()):
            self._interrupt(key)
        deadline = time.monotonic() + GRACE
        while self._references and time.monotonic() < deadline:
            self._outcomes(PATIENCE)
        raise Stopped(number, "stopped; go on with --resume")


def _do(job: Job, data_root: Any) -> BaseException | None:
    """Do a run in this process of the cluster; gives what it raised."""
    torch.set_num_threads(1)
    deadline = time.monotonic() + HELD
    while is_held(job.folder) and time.monotonic() < deadline:
        time.sleep(PATIENCE)  # its last process ends: it was killed, or its driver was
    try:
        do_job(job, data_root)
    except Exception as error:  # the engine decides what it means
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # whatever a stranger's error raises
            return RuntimeError(" ".join(str(error).split()) or type(error).__name__)
        return error
    return None


def _connect(ray: Any, settings: dict[str, Any]) -> None:
    """Connect to a cluster, or start one here: on a busy machine Ray gives that up after half a minute, so again.

    Raises:
        ValueError: If there is none.
    """
    address = settings["address"]
    if is_there := address != "local":
        _require_answer(address)
    for attempt in range(1 if is_there else STARTS):
        try:
            ray.init(logging_level="ERROR", log_to_driver=False, configure_logging=False, **settings)
        except Exception as error:  # Ray raises its own kinds, and plain ones
            with suppress(Exception):
                ray.shutdown()
            if is_there or attempt == STARTS - 1:
                reason = " ".join(str(error).split())[:200]
                where = address if is_there else "this machine"
                raise ValueError(f"no Ray cluster can be used at {where}: {reason}") from error
        else:
            return


def _require_answer(address: str) -> None:
    """Refuse an address of host and port where nothing listens: Ray would try it for minutes.

    Raises:
        ValueError: If nothing does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=ANSWER).close()
        except (OSError, OverflowError) as error:
            raise ValueError(f"no Ray cluster can be used at {address}: {error}") from error


def ray_engine(options: EngineOptions) -> AbstractContextManager[Engine]:
    """An engine on the Ray cluster at an address, or on one of this machine that ends with the context.

    Raises:
        ValueError: If Ray is missing; when the context begins, if there is no cluster at the address.
    """
    require("ray", extra="ray")
    return _connected(options)


@contextmanager
def _connected(options: EngineOptions) -> Iterator[Engine]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = importlib.import_module("ray")
    here: dict[str, Any] = {"num_cpus": options.jobs or os.cpu_count() or 1, "object_store_memory": STORE}
    if options.gpus:
        here = {"object_store_memory": STORE}  # Ray counts the cards, and with them the cores
    here |= {"address": "local", "include_dashboard": False}  # one of its own, also where another one is running
    _connect(ray, {"address": options.address} if options.address else here)
    interruption = Interruption()
    try:
        with interruption.watching():
            yield RayEngine(ray, options, interruption)
    finally:
        with suppress(Exception):
            ray.shutdown()
