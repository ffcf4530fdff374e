"""The result of a supervised run: the accuracy matrix, the measures that follow from it, and each task's record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isnan
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict
from torch import Tensor

from agscl import metrics
from agscl.benchmarks.task import JSON
from agscl.experiments.fullness import ByTask, content_of, tasks_of
from agscl.experiments.kind import AnyResult
from agscl.experiments.result_file import parse_result
from agscl.runs import RunFolder
from agscl.runs.tables import evaluations, read_evaluations
from agscl.training import History, TaskFinished

from .consistency import require_possible, require_same
from .experiment import Experiment

if TYPE_CHECKING:
    from polars import DataFrame


Rows = tuple[tuple[float | None, ...], ...]
"""A matrix of accuracies; what was not measured is `None`."""


@dataclass(frozen=True)
class Result(AnyResult):
    """One finished run.

    Attributes:
        record: What the benchmark drew: order of tasks and classes, and the like.
        lasso_reach: Of AGS-CL, `agscl.methods.agscl.penalty.lasso_reach`; `None` where it is not known.
    """

    experiment: Experiment
    history: History
    record: Mapping[str, JSON]
    environment: Mapping[str, str] = field(default_factory=dict)
    lasso_reach: float | None = None

    @property
    def accuracy(self) -> Tensor:
        """Accuracy matrix, shape ``(T, T)``; NaN where a task was not learned yet."""
        return self.history.accuracy

    @property
    def validation(self) -> Tensor | None:
        """Accuracy on the validation examples, shape ``(T, T)``, NaN as in `accuracy`; `None` in older records."""
        return self.history.validation

    def measures(self) -> dict[str, float]:
        """Summaries of the accuracy matrix that need no reference run, by name."""
        names = ["average_accuracy", "learning_accuracy", "stability"]
        names += ["forgetting", "backward_transfer"] if len(self.history.tasks) > 1 else []
        return {name: getattr(metrics, name)(self.accuracy) for name in names}

    def outcome(self) -> list[list[float]]:
        """The accuracy matrix; what was not measured is 0."""
        outcome: list[list[float]] = self.accuracy.nan_to_num().tolist()
        return outcome

    def drawn(self) -> str:
        """The order of tasks and classes and the like, written alike whether it was read from a folder or not."""
        return json.dumps(self.record, sort_keys=True)

    def scale(self) -> dict[str, JSON]:
        """How much of the preset was run: tasks, epochs and share of the examples, and whether that is all."""
        full, less = self.experiment.full.training.epochs, self._scaled_down
        tasks = {name: self.record[name] for name in ("tasks", "tasks_in_full") if name in self.record}
        epochs, fraction = self.experiment.training.epochs, self.experiment.fraction
        used = {"epochs": epochs, "epochs_in_full": full, "fraction": fraction, "width": self.experiment.width}
        if self.experiment.evaluated_on == "validation":
            return {"scaled_down": True, **tasks, **used, "evaluated_on": "validation"}
        return {"scaled_down": less, **tasks, **used}

    @property
    def _scaled_down(self) -> bool:
        """Whether less than the preset was run."""
        fewer = self.experiment.training.epochs < self.experiment.full.training.epochs
        return bool(self.record.get("scaled_down")) or fewer

    def scale_in_words(self) -> str:
        """How much of the preset was run, for people."""
        scale, width = self.scale(), self.experiment.width
        wide = "" if width == 1 else f", {width:g} times the network's width"
        if not self._scaled_down:
            return f"the preset in full{wide}"
        tasks = f"{len(self.history.tasks)} of {scale.get('tasks_in_full', '?')} tasks"
        epochs = f"at most {scale['epochs']} instead of {scale['epochs_in_full']} epochs"
        return f"scaled down: {tasks}, {epochs}, {scale['fraction']:.0%} of the training examples{wide}"

    def caveats(self) -> list[str]:
        """That accuracies are not on test examples, and that the group Lasso has no time to zero a node, if so."""
        on_validation = self.experiment.evaluated_on == "validation"
        said = ["evaluated on validation examples, to choose hyper-parameters: no results"] if on_validation else []
        if self.lasso_reach is None or self.lasso_reach >= 1:
            return said
        removed = f"can remove at most {self.lasso_reach:.0%} of an average node's initial norm in a task"
        return [*said, f"AGS-CL's group Lasso {removed}: too few epochs, nodes are free only where activations died"]

    def table(self) -> DataFrame:
        """Every evaluation, one row each."""
        return evaluations([task.accuracy for task in self.history.tasks], self.names)

    def content(self) -> dict[str, Any]:
        """What ``result.json`` holds; accuracies that were not measured are null."""
        tasks = content_of(self.history.tasks)
        for task in tasks["tasks"]:
            del task["validation"]  # it stands beside, as older versions do not know it
        return {
            "method": self.method,
            "accuracy": _rows(self.accuracy),
            "validation": None if self.validation is None else _rows(self.validation),
            "measures": self.measures(),
            "scale": self.scale(),
            "lasso_reach": self.lasso_reach,
            **tasks,
            "sequence": self.record,
            "environment": self.environment,
        }

    @classmethod
    def parse(cls, config: bytes, content: bytes, folder: RunFolder) -> Result:
        """A result from the contents of its files; raises as `AnyResult.parse` does."""
        experiment, written = Experiment.from_json(config), parse_result(content, folder.result, _Written)
        tasks = _validated(tasks_of(written.tasks, written.capacity), written.validation)
        if not tasks or any(len(task.accuracy) != number for number, task in enumerate(tasks, 1)):
            raise ValueError(
                "result.json: each task has one accuracy for every task up to it, and there is at least one"
            )
        drawn = {"experiment.json": experiment.tasks, "its sequence": written.sequence.get("tasks")}
        require_possible(tasks, drawn)
        result = cls(experiment, History(tasks), written.sequence, written.environment, written.lasso_reach)
        require_same(asdict(written), result.content())
        return result


def _rows(matrix: Tensor) -> list[list[float | None]]:
    """A matrix as JSON has it."""
    return [[None if isnan(x) else x for x in row] for row in matrix.tolist()]


def _validated(tasks: Sequence[TaskFinished], validation: Rows | None) -> tuple[TaskFinished, ...]:
    """Tasks with their rows of the validation matrix, if there is one.

    Raises:
        ValueError: If it is no such matrix.
    """
    if validation is None:
        return tuple(tasks)
    found = []
    for number, (task, row) in enumerate(zip(tasks, validation, strict=False), 1):
        known = tuple(value for value in row if value is not None)
        if row != (*known, *[None] * (len(tasks) - number)):
            break
        found.append(replace(task, validation=known))
    if len(found) != len(tasks) or len(validation) != len(tasks):
        raise ValueError("result.json: validation must have a row for each task, with a value for every task up to it")
    return tuple(found)


def require_same_table(result: Result, folder: RunFolder) -> None:
    """Refuse a table of evaluations that is not that of the result.

    Raises:
        ValueError: If it is missing, damaged or another.
    """
    if not folder.evaluations.exists():
        raise ValueError(f"{folder.evaluations} is missing: the run wrote it")
    if not read_evaluations(folder.evaluations).equals(result.table()):
        raise ValueError(f"{folder.evaluations} has other accuracies than result.json")


@dataclass(frozen=True)
class _Written:
    """What is read of the file."""

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "ignore", "strict": True}

    tasks: tuple[TaskFinished, ...]
    sequence: dict[str, Any]
    environment: dict[str, str]
    accuracy: Rows | None = None
    measures: dict[str, float] | None = None
    scale: dict[str, Any] | None = None
    lasso_reach: float | None = None
    capacity: ByTask | None = None
    validation: Rows | None = None
