"""Many runs at once: a process for each, one thread in each."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TypeVar

import torch

from agscl.benchmarks.cache import require_sets
from agscl.extras import require
from agscl.runs import RunFolder

from .policies.experiment import RLExperiment
from .policies.result import RLResult
from .policies.run import run_rl
from .supervised.experiment import Experiment
from .supervised.presets import preset_named
from .supervised.result import Result
from .supervised.run import run

AnyExperiment = TypeVar("AnyExperiment", Experiment, RLExperiment)
AnyResult = TypeVar("AnyResult", Result, RLResult)


@dataclass(frozen=True)
class Failure:
    """A run that did not finish.

    Attributes:
        experiment: What was asked.
        reason: Why, in one line.
    """

    experiment: Experiment | RLExperiment
    reason: str


def run_many(
    experiments: Sequence[Experiment],
    place: Callable[[Experiment], RunFolder],
    *,
    processes: int,
    data_root: Path | None = None,
    resume: bool = False,
) -> Iterator[Result | Failure]:
    """Run experiments in parallel and give each outcome as it comes; a failed run does not stop the others.

    Args:
        experiments: What to run.
        place: The folder of each run; a new or empty one, unless runs resume.
        processes: How many at once.
        data_root: Folder of the data sets; default: the platform's cache folder.
        resume: Go on where runs in those folders stopped; finished ones are only read.

    Raises:
        ValueError: If there is less than one process, or data is missing.
        Stopped: If a signal asked for the end; the runs at work are saved then.
    """
    require_sets({name: None for e in experiments for name in preset_named(e.preset).data}, data_root)
    return _run_each(partial(run, data_root=data_root, resume=resume), experiments, place, processes)


def run_many_rl(
    experiments: Sequence[RLExperiment],
    place: Callable[[RLExperiment], RunFolder],
    *,
    processes: int,
    resume: bool = False,
) -> Iterator[RLResult | Failure]:
    """As `run_many`, with runs of reinforcement learning.

    Raises:
        ValueError: If there is less than one process, or a package is missing.
        Stopped: If a signal asked for the end; the runs at work are saved then.
    """
    require("stable_baselines3", extra="rl")
    return _run_each(partial(run_rl, resume=resume), experiments, place, processes)


def _run_each(
    work: Callable[[AnyExperiment, RunFolder], AnyResult],
    experiments: Sequence[AnyExperiment],
    place: Callable[[AnyExperiment], RunFolder],
    processes: int,
) -> Iterator[AnyResult | Failure]:
    if processes < 1:
        raise ValueError(f"at least one process is needed, got {processes}")
    context = multiprocessing.get_context("spawn")
    with _passing_on_sigterm(), ProcessPoolExecutor(processes, mp_context=context, initializer=_one_thread) as pool:
        asked = {pool.submit(work, experiment, place(experiment)): experiment for experiment in experiments}
        try:
            for done in as_completed(asked):
                yield _outcome(done, asked[done])
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


def _one_thread() -> None:
    torch.set_num_threads(1)


def _outcome(done: Future[AnyResult], experiment: Experiment | RLExperiment) -> AnyResult | Failure:
    try:
        return done.result()
    except (ValueError, OSError, RuntimeError, BrokenProcessPool) as error:
        return Failure(experiment, " ".join(str(error).split()) or type(error).__name__)
