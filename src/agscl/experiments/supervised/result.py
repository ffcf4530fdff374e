"""What came out of a run: the accuracy matrix, what follows from it, and each task's record."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from math import isnan
from typing import Any, ClassVar, TypeVar

import torch
from pydantic import ConfigDict, ValidationError
from torch import Tensor

from agscl import metrics
from agscl.benchmarks.task import JSON
from agscl.experiments.codec import adapter, explain, name_of
from agscl.runs import RunFolder
from agscl.runs.files import read_record
from agscl.training import History, Machine, TaskFinished

from .experiment import Experiment
from .presets import preset_named

FORMAT = 1
"""Of ``result.json``; counts up when a reader of the old one could not read the new one."""


@dataclass(frozen=True)
class Result:
    """One finished run.

    Attributes:
        experiment: What was asked.
        history: What happened to each task.
        record: What the benchmark drew: order of tasks and classes, and the like.
        environment: Versions and machine that it was run with.
    """

    experiment: Experiment
    history: History
    record: Mapping[str, JSON]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """Name of the method."""
        return name_of(self.experiment.method)

    @property
    def accuracy(self) -> Tensor:
        """Accuracy matrix, shape ``(T, T)``; NaN where a task was not learned yet."""
        return self.history.accuracy

    def measures(self) -> dict[str, float]:
        """Summaries of the accuracy matrix that need no reference run, by name."""
        names = ["average_accuracy", "learning_accuracy", "stability"]
        names += ["forgetting", "backward_transfer"] if len(self.history.tasks) > 1 else []
        return {name: getattr(metrics, name)(self.accuracy) for name in names}

    def scale(self) -> dict[str, JSON]:
        """How much of the preset was run: tasks, epochs and share of the examples, and whether that is all."""
        full = preset_named(self.experiment.preset).training.epochs
        tasks = {name: self.record[name] for name in ("tasks", "tasks_in_full") if name in self.record}
        epochs, fraction = self.experiment.training.epochs, self.experiment.fraction
        less = bool(self.record.get("scaled_down")) or epochs < full
        used = {"epochs": epochs, "epochs_in_full": full, "fraction": fraction, "width": self.experiment.width}
        return {"scaled_down": less, **tasks, **used}

    def scale_in_words(self) -> str:
        """How much of the preset was run, for people."""
        scale, width = self.scale(), self.experiment.width
        wide = "" if width == 1 else f", {width:g} times the network's width"
        if not scale["scaled_down"]:
            return f"the preset in full{wide}"
        tasks = f"{scale['tasks']} of {scale['tasks_in_full']} tasks"
        epochs = f"at most {scale['epochs']} instead of {scale['epochs_in_full']} epochs"
        return f"scaled down: {tasks}, {epochs}, {scale['fraction']:.0%} of the training examples{wide}"

    def to_json(self) -> bytes:
        """The result as JSON; accuracies that were not measured are null."""
        content: dict[str, Any] = {
            "format": FORMAT,
            "method": self.method,
            "accuracy": [[None if isnan(x) else x for x in row] for row in self.accuracy.tolist()],
            "measures": self.measures(),
            "scale": self.scale(),
            "tasks": [asdict(task) for task in self.history.tasks],
            "sequence": self.record,
            "environment": self.environment,
        }
        return json.dumps(content, indent=2, allow_nan=False).encode() + b"\n"

    @classmethod
    def read(cls, folder: RunFolder) -> Result:
        """The result that a finished run wrote.

        Raises:
            ValueError: If the folder holds no finished run that this version can read.
            OSError: If its files cannot be read.
        """
        folder.require_complete()
        experiment = Experiment.from_json(folder.experiment.read_bytes())
        written = read_result(folder, _Written)
        return cls(experiment, History(written.tasks), written.sequence, written.environment)


@dataclass(frozen=True)
class _Written:
    """What `Result.read` needs of the file."""

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "ignore", "strict": True}

    tasks: tuple[TaskFinished, ...]
    sequence: dict[str, Any]
    environment: dict[str, str]


Written = TypeVar("Written")


def read_result(folder: RunFolder, kind: type[Written]) -> Written:
    """What stands in a run's ``result.json``, as a dataclass of the parts that are needed.

    Raises:
        ValueError: If it is damaged or was written in another format, or a part is missing or of the wrong type.
        OSError: If it cannot be read.
    """
    check_format(folder, read_record(folder.result))
    try:
        return adapter(kind).validate_json(folder.result.read_bytes())
    except ValidationError as error:
        raise ValueError(explain(error, str(folder.result), kind)) from error


def check_format(folder: RunFolder, record: Mapping[str, Any]) -> None:
    """Refuse a result of another version of the format; those written before it was counted are of format 1.

    Raises:
        ValueError: If it is.
    """
    if (found := record.get("format", 1)) != FORMAT:
        raise ValueError(
            f"{folder.path} was written in format {found!r}, this version of agscl reads format {FORMAT}: "
            "install the version that wrote it (see environment in its result.json)"
        )


def environment(machine: Machine) -> dict[str, str]:
    """Versions and machine of this process, for the record of a run."""
    packages = {name: version(name) for name in ("agscl", "torch", "numpy")}
    system = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    return {**system, **packages, "compute": str(machine), "threads": str(torch.get_num_threads())}
