"""The result of a run of reinforcement learning: every evaluation, and each task's record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict

from agscl.benchmarks.task import JSON
from agscl.experiments.fullness import ByTask, content_of, tasks_of
from agscl.experiments.kind import AnyResult
from agscl.experiments.result_file import parse_result
from agscl.rl.history import Evaluation, PolicyHistory, PolicyResumed, PolicyTaskFinished
from agscl.runs import RunFolder
from agscl.runs.tables import frame, read_table

from .experiment import PolicyExperiment

if TYPE_CHECKING:
    from polars import DataFrame

KIND = "reinforcement learning"
"""What ``result.json`` says it is."""

COLUMNS = {
    "time": "Int64",
    "training": "Int64",
    "after": "Int64",
    "task": "Int64",
    "name": "String",
    "score": "Float64",
    "deviation": "Float64",
    "episodes": "Int64",
    "capped": "Int64",
}
"""Of ``result.parquet``, one row an evaluation; see `agscl.rl.history.Evaluation`. Time is in agent steps."""


@dataclass(frozen=True)
class PolicyResult(AnyResult):
    """One finished run; its history has all evaluations as well."""

    experiment: PolicyExperiment
    history: PolicyHistory
    environment: Mapping[str, str]

    def scores(self) -> list[list[float | None]]:
        """Score on each task after learning each task, ``[after][task]``; `None` where it was not measured."""
        found = {(e.after, e.task): e.score for e in self.history.evaluations if e.after == e.training}
        tasks = range(len(self.history.tasks))
        return [[found.get((after, task)) for task in tasks] for after in tasks]

    def outcome(self) -> list[Evaluation]:
        """All evaluations."""
        return self.history.evaluations

    def scale(self) -> dict[str, JSON]:
        """How much of the preset was run, in tasks and agent steps a task, and whether that is all."""
        full = self.experiment.full
        steps, steps_in_full = self.experiment.training.steps, full.training.steps
        less = steps < steps_in_full or self.experiment.tasks is not None
        return {
            "scaled_down": less,
            "tasks": len(self.history.tasks),
            "steps": steps,
            "steps_in_full": steps_in_full,
            "frames_per_step": full.frames_per_step,
        }

    def scale_in_words(self) -> str:
        """How much of the preset was run, for people."""
        scale = self.scale()
        steps = f"{self.experiment.training.steps_per_task:,} agent steps a task"
        frames = f" ({scale['frames_per_step']} frames each)" if scale["frames_per_step"] != 1 else ""
        if not scale["scaled_down"]:
            return f"the preset in full: {steps}{frames}"
        return f"scaled down: {scale['tasks']} tasks, {steps}{frames} instead of {scale['steps_in_full']:,}"

    def caveats(self) -> list[str]:
        """Nothing."""
        return []

    def table(self) -> DataFrame:
        """Every evaluation, one row each."""
        return frame([asdict(evaluation) for evaluation in self.history.evaluations], COLUMNS)

    def content(self) -> dict[str, Any]:
        """What ``result.json`` holds."""
        return {
            "kind": KIND,
            "method": self.method,
            "scores": self.scores(),
            "random_scores": self.history.random_scores,
            "scale": self.scale(),
            **content_of(self.history.tasks),
            "resumed": [asdict(place) for place in self.history.resumed],
            "environment": self.environment,
        }

    @classmethod
    def parse(cls, config: bytes, content: bytes, folder: RunFolder) -> PolicyResult:
        """A result from the contents of its files; raises as `AnyResult.parse` does."""
        experiment, written = PolicyExperiment.from_json(config), parse_result(content, folder.result, _Written)
        history = PolicyHistory(
            random_scores=list(written.random_scores),
            tasks=tasks_of(written.tasks, written.capacity),
            evaluations=[Evaluation(**row) for row in read_table(folder.evaluations, COLUMNS).iter_rows(named=True)],
            resumed=list(written.resumed),
        )
        steps, tasks = experiment.training.steps_per_task, range(len(history.tasks))
        ends = ((after, task, (after + 1) * steps) for after in tasks for task in range(after + 1))
        made = {(e.after, e.task, e.time) for e in history.evaluations if e.after == e.training}
        lacking = not tasks or len(history.random_scores) != len(tasks) or any(end not in made for end in ends)
        foreign = {e.task for e in history.evaluations} - set(tasks) or any(t.steps != steps for t in history.tasks)
        if lacking or foreign:
            raise ValueError(f"{folder.path} is damaged: its evaluations and random scores are not those of its tasks")
        return cls(experiment, history, written.environment)


@dataclass(frozen=True)
class _Written:
    """What is read of the file."""

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "ignore", "strict": True}

    random_scores: Sequence[float]
    tasks: Sequence[PolicyTaskFinished]
    resumed: Sequence[PolicyResumed]
    environment: dict[str, str]
    capacity: ByTask | None = None
