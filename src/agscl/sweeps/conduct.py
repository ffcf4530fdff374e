"""A sweep from its beginning to its end: choose the values of every method, then report them on other seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agscl.experiments import Result
from agscl.runs import RunFolder
from agscl.runs.export import latex
from agscl.runs.files import write_bytes
from agscl.runs.lock import locked
from agscl.runs.tables import write_table

from .best import Best
from .draws import draw
from .engine import Ended, Engine, Job, Work, do_all
from .folder import SweepFolder
from .plan import Plan, Sweep, differences
from .record import HEADS, Reported, SweepRecord
from .search import Journal
from .searching import MethodSearch, Search
from .trial import Trial

Say = Callable[[str], None]
"""Tells of what is done, in one line."""


@contextmanager
def planned(sweep: Sweep, folder: SweepFolder, *, resume: bool, data_root: Path | None = None) -> Iterator[Plan]:
    """Hold the folder of a sweep within the context, with its plan written into it, or the one that is there.

    Raises:
        ValueError: If it holds something else or another sweep, another process holds it, or data is missing.
        OSError: If it cannot be written.
    """
    begun = resume and folder.plan.exists()
    if not begun:
        RunFolder(folder.path).require_free()
    plan = Plan.from_json(folder.plan.read_bytes()) if begun else Plan(sweep, draw(sweep, data_root))
    if names := differences(plan.sweep, sweep):
        raise ValueError(
            f"{folder.path} holds a sweep with another {' and '.join(names)}: give the options that it was begun with, "
            "or choose a new folder with --out"
        )
    folder.path.mkdir(parents=True, exist_ok=True)
    with locked(folder.path):
        if not begun:
            write_bytes(folder.plan, plan.to_json())
        yield plan


def conduct(plan: Plan, folder: SweepFolder, engine: Engine, say: Say) -> SweepRecord:
    """Do what is left of a sweep, and write all that comes out of it.

    No test example is looked at before all values are chosen and written down.

    Args:
        plan: What is to be done.
        folder: Where it is written; held by the caller.
        engine: Does the runs.
        say: Told of every trial and every run of the report that ends.

    Raises:
        ValueError: If the folder holds other runs.
        Stopped: If a signal asked for the end; what is done is kept.
        OSError: If something cannot be written.
    """
    spaces = {method.name: method.space for method in plan.sweep.methods}
    journal = Journal(folder.journal, spaces)
    searches = [MethodSearch(plan, method, folder, journal) for method in plan.sweep.methods]
    total, ended = sum(found.count for found in searches), sum(len(found.ended) for found in searches)

    def told(trial: Trial) -> None:
        nonlocal ended
        ended += 1
        outcome = trial.state if trial.score is None else f"{trial.score:.1%}"
        say(f"[{ended}/{total}] {trial.method} trial {trial.number + 1}: {outcome}")
        write_bytes(folder.record, _record(plan, searches).to_json())

    do_all(Search(searches, told), engine)
    best = Best.of(plan, {found.name: found.trials() for found in searches})
    write_bytes(folder.best, best.to_json())
    reports = Report(plan, best, folder, say)
    do_all(reports, engine)
    rows = [
        Reported.of(method, found.trials(), reports.results[method.name], reports.failures[method.name])
        for method, found in zip(plan.sweep.methods, searches, strict=True)
    ]
    record = _record(plan, searches, rows)
    write_table(folder.trials, record.table())
    cells = [row.cells() for row in record.report]
    write_bytes(folder.table, latex(HEADS, cells, [record.title, *record.notes]).encode())
    write_bytes(folder.record, record.to_json())
    return record


def _record(plan: Plan, searches: list[MethodSearch], rows: list[Reported] | None = None) -> SweepRecord:
    return SweepRecord(plan, tuple(trial for found in searches for trial in found.trials()), tuple(rows or ()))


class Report(Work):
    """The runs of the chosen values on the seeds of the report.

    Attributes:
        results: Of each method, those that finished.
        failures: Why others did not, by seed.
    """

    def __init__(self, plan: Plan, best: Best, folder: SweepFolder, say: Say) -> None:
        self.results: dict[str, list[Result]] = defaultdict(list)
        self.failures: dict[str, dict[int, str]] = defaultdict(dict)
        self._say, self._jobs = say, dict[str, Job]()
        for seed in plan.draws.reported:
            for name, method in best.methods.items():
                key = f"{name}/report/{seed}"
                self._jobs[key] = Job(key, plan.report(method, seed), folder.report(name, seed).path)
        self._count = len(self._jobs)

    def jobs(self) -> list[Job]:
        """Those that have not ended."""
        return list(self._jobs.values())

    def take(self, ended: Ended) -> None:
        """Read what a run found."""
        job = self._jobs.pop(ended.key)
        name, seed, place = job.experiment.method_name, job.experiment.seed, self._count - len(self._jobs)
        if ended.failure is None:
            self.results[name].append(Result.read(RunFolder(job.folder)))
        else:
            self.failures[name][seed] = ended.failure
        self._say(f"report [{place}/{self._count}] {name} seed={seed} {ended.failure or 'finished'}")

    def hopeless(self, running: Iterable[str]) -> tuple[str, ...]:
        """None: every run of the report is wanted."""
        return ()
