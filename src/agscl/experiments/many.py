"""Many runs at once: a process for each, one thread in each."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import torch

from agscl.runs import RunFolder

from .kind import AnyExperiment, AnyResult
from .kinds import require, run


@dataclass(frozen=True)
class Failure:
    """A run that did not finish, and the reason in one line."""

    experiment: AnyExperiment
    reason: str


def run_many(
    experiments: Sequence[AnyExperiment],
    place: Callable[[AnyExperiment], RunFolder],
    *,
    processes: int,
    data_root: Path | None = None,
    resume: bool = False,
) -> Iterator[AnyResult | Failure]:
    """Run experiments in parallel and give each outcome as it comes; a failed run does not stop the others.

    Args:
        experiments: What to run, of any kind.
        place: The folder of each run; a new or empty one, unless runs resume.
        processes: How many at once.
        data_root: Folder of the data sets; default: the platform's cache folder.
        resume: Go on where runs in those folders stopped; finished ones are only read.

    Raises:
        ValueError: If there is less than one process, or data or a package is missing.
        Stopped: If a signal asked for the end; the runs at work are saved then.
    """
    if processes < 1:
        raise ValueError(f"at least one process is needed, got {processes}")
    require(experiments, data_root)
    work = partial(run, data_root=data_root, resume=resume)
    context = multiprocessing.get_context("spawn")
    with (
        _passing_on_sigterm(),
        ProcessPoolExecutor(processes, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        submitted = {pool.submit(work, experiment, place(experiment)): experiment for experiment in experiments}
        try:
            for done in as_completed(submitted):
                outcome: AnyResult | Failure
                try:
                    outcome = done.result()
                except (ValueError, OSError, RuntimeError, BrokenProcessPool) as error:
                    outcome = Failure(submitted[done], " ".join(str(error).split()) or type(error).__name__)
                yield outcome
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _passing_on_sigterm() -> Iterator[None]:
    """SIGTERM goes to the runs, which save and stop; then this process hears of it from them."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        for process in multiprocessing.active_children():
            process.terminate()

    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread
        return
    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
