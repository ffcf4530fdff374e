"""What came out of a run: the accuracy matrix, what follows from it, and each task's record."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import isnan
from typing import Any

from torch import Tensor

from agscl import metrics
from agscl.benchmarks.task import JSON
from agscl.training import History

from .experiment import Experiment
from .methods import name_of
from .presets import preset_named


@dataclass(frozen=True)
class Result:
    """One finished run.

    Attributes:
        experiment: What was asked.
        history: What happened to each task.
        record: What the benchmark drew: order of tasks and classes, and the like.
    """

    experiment: Experiment
    history: History
    record: Mapping[str, JSON]

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
        return {"scaled_down": less, **tasks, "epochs": epochs, "epochs_in_full": full, "fraction": fraction}

    def to_json(self) -> bytes:
        """The result as JSON; accuracies that were not measured are null."""
        content: dict[str, Any] = {
            "method": self.method,
            "accuracy": [[None if isnan(x) else x for x in row] for row in self.accuracy.tolist()],
            "measures": self.measures(),
            "scale": self.scale(),
            "tasks": [asdict(task) for task in self.history.tasks],
            "sequence": self.record,
            "environment": _environment(),
        }
        return json.dumps(content, indent=2, allow_nan=False).encode() + b"\n"


def _environment() -> dict[str, str]:
    packages = {name: version(name) for name in ("agscl", "torch", "numpy")}
    return {"python": platform.python_version(), "machine": platform.machine(), **packages}
