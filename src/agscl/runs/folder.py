"""One run, one folder: its configuration, events, result, and final state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .files import LEFTOVER, write_bytes
from .lock import locked, refuse_held


@dataclass(frozen=True)
class RunFolder:
    """The files of one run.

    ``experiment.json`` is written first and ``result.json`` last: a folder without a result holds a run that
    did not finish.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def experiment(self) -> Path:
        """Its configuration."""
        return self.path / "experiment.json"

    @property
    def events(self) -> Path:
        """Its events, one JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def result(self) -> Path:
        """Its result."""
        return self.path / "result.json"

    @property
    def state(self) -> Path:
        """Final weights and the guard's state."""
        return self.path / "state.safetensors"

    @property
    def evaluations(self) -> Path:
        """Every evaluation, as a table."""
        return self.path / "result.parquet"

    @property
    def nodes(self) -> Path:
        """Every node after every task, as a table, for methods that rate nodes."""
        return self.path / "nodes.parquet"

    @property
    def checkpoints(self) -> Path:
        """What an unfinished run needs to go on."""
        return self.path / "checkpoint"

    @property
    def digests(self) -> Path:
        """Digests of what an unfinished run wrote; a finished one has them in its result."""
        return self.path / "digests.json"

    def state_after(self, task: int) -> Path:
        """Weights and the guard's state right after a task was learned."""
        return self.path / "states" / f"task-{task:03d}.safetensors"

    @property
    def tensorboard(self) -> Path:
        """Curves for TensorBoard, if they were asked for."""
        return self.path / "tensorboard"

    @property
    def picture(self) -> Path:
        """The result as a picture."""
        return self.path / "summary.png"

    def require_complete(self) -> None:
        """Refuse a folder without a finished run, with a `ValueError`."""
        if not self.experiment.exists():
            raise ValueError(f"{self.path} holds no run: there is no experiment.json in it")
        if not self.result.exists():
            raise ValueError(f"{self.path} is incomplete: let the run finish first (agscl run ... --resume)")

    def require_free(self) -> None:
        """Refuse a folder that holds something already, with a `ValueError`."""
        if self.path.is_dir() and not all(path.match(".lock*") or path.match(LEFTOVER) for path in self.path.iterdir()):
            what = "another run" if self.experiment.exists() else "other files"
            raise ValueError(f"{self.path} holds {what}: choose a new folder with --out, or go on with --resume")

    @contextmanager
    def claimed(self, experiment: bytes, *, resume: bool = False) -> Iterator[None]:
        """Hold the folder within the context, with the configuration written into it.

        Args:
            experiment: The configuration.
            resume: The folder may hold a run already.

        Raises:
            ValueError: If the folder holds something else, or another process holds it.
            OSError: If it cannot be written.
        """
        if self.experiment.exists():
            refuse_held(self.path)
        self._require_usable(resume=resume)
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path):
            self._require_usable(resume=resume)
            for leftover in self.path.rglob(LEFTOVER):
                leftover.unlink(missing_ok=True)
            if not self.experiment.exists():
                write_bytes(self.experiment, experiment)
            yield

    def _require_usable(self, *, resume: bool) -> None:
        if not (resume and self.experiment.exists()):
            self.require_free()


def run_folders(paths: Iterable[Path]) -> list[RunFolder]:
    """The runs in the given folders, each of which is a run or holds runs; a run given twice is there once.

    Raises:
        ValueError: If a path is no folder, or holds no run.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise ValueError(f"{path} is no folder: name run folders, or folders that hold some")
        experiment = RunFolder(path).experiment
        inside = [path] if experiment.exists() else sorted(file.parent for file in path.rglob(experiment.name))
        if not inside:
            raise ValueError(f"{path} holds no run: there is no {experiment.name} in it")
        found.update({run.resolve(): run for run in inside})
    return [RunFolder(path) for path in found.values()]
