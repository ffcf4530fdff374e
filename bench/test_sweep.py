"""What an engine adds to the runs that it does, and how a sweep compares with a plain loop over ``agscl run``.

CPU seconds, of this process and of all that it started: what others do on the machine meanwhile does not count.
"""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ratios import say

from agscl.experiments import Experiment, Overrides, run
from agscl.methods import EWC
from agscl.runs import RunFolder
from agscl.sweeps.engine import Ended, EngineOptions, Job, Work, do_all, engine_named

RUNS = 12
EPOCHS = 5


class Listed(Work):
    """Jobs of which nothing follows."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.left = {job.key: job for job in jobs}

    def jobs(self) -> list[Job]:
        return list(self.left.values())

    def take(self, ended: Ended) -> None:
        assert ended.failure is None
        del self.left[ended.key]

    def hopeless(self, running: Iterable[str]) -> tuple[str, ...]:
        return ()


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of some work and of the processes that it starts and ends."""

    def used() -> float:
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(one.ru_utime + one.ru_stime for one in both)

    before = used()
    work()
    return used() - before


def experiments() -> list[Experiment]:
    first = Experiment.of_preset("digits", EWC(lam=1e6), 0, Overrides(epochs=EPOCHS, tasks=2))
    return [replace(first, seed=seed, evaluated_on="validation") for seed in range(RUNS)]


def plain(folder: Path) -> None:
    for experiment in experiments():
        run(experiment, RunFolder(folder / str(experiment.seed)))


def by_engine(folder: Path) -> None:
    jobs = [Job(str(one.seed), one, folder / str(one.seed)) for one in experiments()]
    with engine_named("local", EngineOptions(jobs=2)) as engine:
        do_all(Listed(jobs), engine)


def by_command(folder: Path) -> None:
    """A few of the runs, each by a command of its own."""
    for seed in range(3):
        options = ["--method", "ewc", "--method.lam", "1e6", "--epochs", str(EPOCHS), "--tasks", "2"]
        command = [sys.executable, "-m", "agscl", "run", "digits", *options, "--seed", str(seed)]
        subprocess.run([*command, "--out", str(folder / str(seed))], check=True, capture_output=True)


def test_the_engine_adds_less_than_two_seconds_to_a_trial(tmp_path: Path) -> None:
    plain(tmp_path / "warm")
    alone = seconds(lambda: plain(tmp_path / "plain")) / RUNS
    engine = seconds(lambda: by_engine(tmp_path / "engine")) / RUNS
    command = seconds(lambda: by_command(tmp_path / "command")) / 3
    say(f"\na run alone {alone:.2f} s; by the engine {engine:.2f} s, so {engine - alone:.2f} s more (limit 2)")
    say(f"a core does {3600 / engine:.0f} such trials an hour, by a loop over agscl run {3600 / command:.0f}")
    assert engine - alone <= 2
