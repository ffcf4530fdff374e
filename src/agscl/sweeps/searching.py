"""The search of a sweep: trials of all methods, wave by wave, on an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agscl.experiments import Result
from agscl.experiments.records import events_in
from agscl.runs import RunFolder
from agscl.runs.checkpoint import CheckpointFolder

from .engine import Ended, Job, Work
from .folder import SweepFolder
from .plan import Plan, Searched
from .search import Journal, propose, wave_of
from .trial import State, Trial, mean_so_far, worse_after

Told = Callable[[Trial], None]
"""Hears of every trial that ends."""


@dataclass
class _Attempt:
    """A trial that has not ended.

    Attributes:
        values: What is tried.
        job: The run that is to be done next; `None` if the method refuses the values.
        refused: Why it does.
        steps: Of the seeds that are done.
        seconds: They took.
        given_up: Of the seed at work: what it got to when it was given up.
    """

    number: int
    values: Mapping[str, Any]
    job: Job | None = None
    refused: str = ""
    steps: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0
    given_up: list[float] | None = None


class MethodSearch:
    """The trials of one method. Nothing in it depends on other methods, or on how long anything takes."""

    def __init__(self, plan: Plan, method: Searched, folder: SweepFolder, journal: Journal) -> None:
        self._plan, self._method, self._folder, self._journal = plan, method, folder, journal
        known = journal.trials(method.name)
        self.ended: dict[int, Trial] = {trial.number: trial for trial in known}
        self.at_work: dict[int, _Attempt] = {}
        self._begin()

    @property
    def name(self) -> str:
        """Of the method."""
        return self._method.name

    @property
    def count(self) -> int:
        """How many trials the method gets."""
        return self._plan.sweep.trials_of(self._method)

    def trials(self) -> list[Trial]:
        """Those that have ended, by number."""
        return [self.ended[number] for number in sorted(self.ended)]

    def _begin(self) -> None:
        """Begin what is missing of the first wave that is not over."""
        missing = [number for number in range(self.count) if number not in self.ended]
        if not missing:
            return
        wave = wave_of(missing[0], self.count)
        earlier, seed = self._before(wave.start), self._plan.sweep.seed
        beside = [self.ended[number].values for number in wave if number in self.ended]
        for number in range(wave.start + len(beside), wave.stop):
            beside.append(propose(self.name, self._method.space, earlier, beside, number, seed))
            self.at_work[number] = _Attempt(number, beside[-1])
            self._set_job(self.at_work[number])

    def _set_job(self, attempt: _Attempt) -> None:
        """The next run of a trial."""
        place = len(attempt.steps)
        try:
            experiment = self._plan.tuning(self._method.method(attempt.values), place)
        except ValueError as error:
            attempt.job, attempt.refused = None, " ".join(str(error).split())
            return
        folder = self._run_folder(attempt.number)
        attempt.job = Job(f"{self.name}/{attempt.number}/{folder.path.name}", experiment, folder.path)

    def _before(self, number: int) -> list[Trial]:
        return [trial for trial in self.trials() if trial.number < number]

    def _earlier(self, number: int) -> list[Trial]:
        """The trials that a decision about one stands on: those of all earlier waves."""
        return self._before(wave_of(number, self.count).start)

    def _run_folder(self, number: int) -> RunFolder:
        seed, _ = self._plan.draws.tuned[len(self.at_work[number].steps)]
        return self._folder.trial(self.name, number, seed)

    def is_hopeless(self, number: int) -> bool:
        """Whether the run of a trial that goes on has just been found worse than most earlier ones."""
        attempt = self.at_work[number]
        events = self._run_folder(number).events
        if attempt.given_up is not None or not self._earlier(number) or not events.exists():
            return False
        finished = [event for event in events_in(events) if event.get("event") == "TaskFinished"]
        steps = [sum(event["validation"]) / len(event["validation"]) for event in finished]
        if (tasks := self._worse_after(number, steps)) is not None:
            attempt.given_up = steps[:tasks]
            attempt.seconds += sum(event["seconds"] for event in finished)
        return tasks is not None

    def _worse_after(self, number: int, steps: Sequence[float]) -> int | None:
        place, draws = len(self.at_work[number].steps), self._plan.draws
        last = len(draws.tuned) - 1, draws.tune_tasks
        return worse_after(steps, place, self._earlier(number), last)

    def take(self, number: int, ended: Ended) -> Trial | None:
        """Take the end of a trial's run; gives the trial if it has ended with it, or else its next run can begin."""
        attempt, folder = self.at_work[number], self._run_folder(number)
        if ended.failure is not None:
            return self.end(number, "failed", ended.failure)
        if ended.cancelled:
            assert attempt.given_up is not None, "only what is hopeless is cancelled"
            CheckpointFolder(folder.checkpoints).clear()
            attempt.steps.append(attempt.given_up)
            return self._pruned(number)
        result = Result.read(folder)
        assert result.validation is not None, "every run of this version has it"
        steps = mean_so_far(result.validation)
        attempt.seconds += sum(task.seconds for task in result.history.tasks)
        tasks = self._worse_after(number, steps)
        attempt.steps.append(steps if tasks is None else steps[:tasks])
        if tasks is not None:
            return self._pruned(number)
        if len(attempt.steps) == len(self._plan.draws.tuned):
            return self.end(number, "complete")
        self._set_job(attempt)
        return None

    def _pruned(self, number: int) -> Trial:
        steps = self.at_work[number].steps
        seed, _ = self._plan.draws.tuned[len(steps) - 1]
        where = f"{len(steps[-1])} of {self._plan.draws.tune_tasks} tasks of seed {seed}"
        return self.end(number, "pruned", f"after {where}: below the median of earlier trials after as many")

    def end(self, number: int, state: State, reason: str = "") -> Trial:
        """End a trial; with the last of its wave the next wave begins."""
        attempt = self.at_work.pop(number)
        trial = Trial(
            self.name, number, attempt.values, state, tuple(map(tuple, attempt.steps)), reason, attempt.seconds
        )
        self.ended[number] = trial
        if not self.at_work:
            known = len(self._journal.trials(self.name))
            self._journal.add(self.trials()[known:])
            self._begin()
        return trial


@dataclass(frozen=True)
class Search(Work):
    """The trials of all methods.

    Attributes:
        methods: The searches.
        told: Hears of every trial that ends.
    """

    methods: Sequence[MethodSearch]
    told: Told

    def jobs(self) -> list[Job]:
        """The next run of every trial that is at work, in the order of their numbers; the methods take turns."""
        for found in self.methods:
            while refused := [number for number, attempt in found.at_work.items() if attempt.job is None]:
                for number in refused:
                    self.told(found.end(number, "failed", found.at_work[number].refused))
        attempts = (attempt for found in self.methods for attempt in found.at_work.values())
        ordered = sorted(attempts, key=lambda attempt: attempt.number)  # stable: methods in their order
        return [attempt.job for attempt in ordered if attempt.job is not None]

    def take(self, ended: Ended) -> None:
        """Take the end of a run."""
        found, number = self._of(ended.key)
        if (trial := found.take(number, ended)) is not None:
            self.told(trial)

    def hopeless(self, running: Iterable[str]) -> list[str]:
        """Runs that are found worse than most earlier ones."""
        found = [(key, *self._of(key)) for key in running]
        return [key for key, method, number in found if method.is_hopeless(number)]

    def _of(self, key: str) -> tuple[MethodSearch, int]:
        name, number, _ = key.rsplit("/", 2)
        return next(found for found in self.methods if found.name == name), int(number)
