"""One run, one folder: what was asked, what happened, what came out, and the final state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .files import write_bytes


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
        """What was asked."""
        return self.path / "experiment.json"

    @property
    def events(self) -> Path:
        """What happened, one JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def result(self) -> Path:
        """What came out."""
        return self.path / "result.json"

    @property
    def state(self) -> Path:
        """Final weights and the guard's state."""
        return self.path / "state.safetensors"

    @property
    def picture(self) -> Path:
        """The result as a picture."""
        return self.path / "summary.png"

    def require_free(self) -> None:
        """Refuse a folder that holds something already.

        Raises:
            ValueError: If it does.
        """
        if self.path.is_dir() and any(self.path.iterdir()):
            what = "another run" if self.experiment.exists() else "other files"
            raise ValueError(f"{self.path} holds {what}: choose a new folder with --out")

    def begin(self, experiment: bytes) -> None:
        """Make the folder and write what was asked.

        Raises:
            ValueError: If the folder holds something already.
            OSError: If it cannot be written.
        """
        self.require_free()
        self.path.mkdir(parents=True, exist_ok=True)
        write_bytes(self.experiment, experiment)
