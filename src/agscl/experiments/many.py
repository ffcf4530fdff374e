"""Many runs at once: a process for each, one thread in each."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch

from agscl.runs import RunFolder

from .experiment import Experiment
from .result import Result
from .run import run


@dataclass(frozen=True)
class Failure:
    """A run that did not finish.

    Attributes:
        experiment: What was asked.
        reason: Why, in one line.
    """

    experiment: Experiment
    reason: str


Outcome = Result | Failure
Place = Callable[[Experiment], RunFolder]
"""Where each run is written."""


def run_many(experiments: Sequence[Experiment], place: Place, *, processes: int) -> Iterator[Outcome]:
    """Run experiments in parallel and give each outcome as it comes; a failed run does not stop the others.

    Args:
        experiments: What to run.
        place: The folder of each run; a new or empty one.
        processes: How many at once.

    Raises:
        ValueError: If there is less than one process.
    """
    if processes < 1:
        raise ValueError(f"at least one process is needed, got {processes}")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_one_thread) as pool:
        asked = {pool.submit(run, experiment, place(experiment)): experiment for experiment in experiments}
        for done in as_completed(asked):
            yield _outcome(done, asked[done])


def _one_thread() -> None:
    torch.set_num_threads(1)


def _outcome(done: Future[Result], experiment: Experiment) -> Outcome:
    try:
        return done.result()
    except (ValueError, OSError, RuntimeError, BrokenProcessPool) as error:
        return Failure(experiment, " ".join(str(error).split()) or type(error).__name__)
