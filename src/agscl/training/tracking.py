"""Loggers for trackers of experiments: Weights & Biases and MLflow, each behind its extra, online or not.

A run that is resumed goes on in the same run of the tracker. What it logged before it died and does once more is the
same to the last bit.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agscl.extras import require
from agscl.runs.events import Logger

from .curves import Curves
from .events import Event


@dataclass(frozen=True)
class Tracked:
    """What a tracker is told of a run.

    Attributes:
        group: Such as the preset.
        name: For people.
        folder: Of the run; with the configuration it makes the run's name in the tracker.
        config: The configuration.
    """

    group: str
    name: str
    folder: Path
    config: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Sixteen digits that are the same when the run is resumed."""
        content = json.dumps([str(self.folder.resolve()), self.config], sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@contextmanager
def weights_and_biases(project: str, tracked: Tracked) -> Iterator[Logger[Event]]:
    """Log curves to Weights & Biases within the context; ``WANDB_MODE=offline`` keeps them in the run's folder.

    Args:
        project: Of Weights & Biases.
        tracked: The run.

    Raises:
        ValueError: If wandb is not installed, or a run cannot be begun there (no login, say).
    """
    curves = _WeightsAndBiases(require("wandb", extra="wandb"), project, tracked)
    code = 1
    try:
        yield curves
        code = 0
    finally:
        curves.finish(code)


class _WeightsAndBiases(Curves):
    """Curves of a run of Weights & Biases."""

    def __init__(self, wandb: Any, project: str, tracked: Tracked) -> None:
        super().__init__()
        self._wandb, self._project, self._tracked = wandb, project, tracked
        self._run: Any = None

    def begin(self, purge: int | None) -> None:
        """Begin the run, or go on with it: points that are there already are not taken twice."""
        wandb, tracked = self._wandb, self._tracked
        try:
            self._run = wandb.init(
                project=self._project,
                group=tracked.group,
                name=tracked.name,
                id=tracked.key,
                dir=str(tracked.folder),
                config=dict(tracked.config),
                resume="allow",
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.errors.Error as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"Weights & Biases: {reason} (WANDB_MODE=offline needs no login)") from error

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take the points."""
        self._run.log(dict(values), step=step)

    def finish(self, code: int) -> None:
        """End the run with an exit code."""
        if self._run is not None:
            self._run.finish(exit_code=code)


@contextmanager
def mlflow(uri: str, tracked: Tracked) -> Iterator[Logger[Event]]:
    """Log curves to MLflow within the context.

    Args:
        uri: Of the tracking server, or a folder on this machine.
        tracked: The run; its group is MLflow's experiment.

    Raises:
        ValueError: If mlflow is not installed, or a run cannot be begun there.
    """
    curves = _MLflow(require("mlflow", extra="mlflow"), uri, tracked)
    status = "FAILED"
    try:
        yield curves
        status = "FINISHED"
    finally:
        curves.finish(status)


class _MLflow(Curves):
    """Curves of a run of MLflow."""

    def __init__(self, package: Any, uri: str, tracked: Tracked) -> None:
        super().__init__()
        self._package, self._uri, self._tracked = package, uri, tracked
        self._client: Any = None
        self._run = ""
        self._from = 0

    def begin(self, purge: int | None) -> None:
        """Begin the run, or go on with it."""
        package, tracked = self._package, self._tracked
        try:
            self._client = client = package.MlflowClient(tracking_uri=self._uri)
            found = client.get_experiment_by_name(tracked.group)
            number = client.create_experiment(tracked.group) if found is None else found.experiment_id
            before = client.search_runs([number], filter_string=f"tags.`agscl.run` = '{tracked.key}'", max_results=1)
            if before:
                self._run = before[0].info.run_id
                history = client.get_metric_history(self._run, "loss/training")
                self._from = 1 + max((point.step for point in history), default=0)
                client.update_run(self._run, status="RUNNING")
                return
            tags = {"agscl.run": tracked.key, "agscl.folder": str(tracked.folder.resolve())}
            self._run = client.create_run(number, run_name=tracked.name, tags=tags).info.run_id
            parameters = [package.entities.Param(name, str(value)[:500]) for name, value in tracked.config.items()]
            client.log_batch(self._run, params=parameters)
        except package.exceptions.MlflowException as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"MLflow at {self._uri}: {reason}") from error

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take the points, those that are there already aside."""
        ends_task = "loss/training" not in values
        if step + ends_task < self._from:
            return
        metric, now = self._package.entities.Metric, int(1000 * time.time())
        points = [metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=points)

    def finish(self, status: str) -> None:
        """End the run."""
        if self._run:
            self._client.set_terminated(self._run, status)
