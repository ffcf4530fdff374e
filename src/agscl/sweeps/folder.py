"""The folder of a sweep: its plan, Optuna's journal, the runs of its trials and of its report, and what came out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agscl.runs import RunFolder


@dataclass(frozen=True)
class SweepFolder:
    """The files of one sweep.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def plan(self) -> Path:
        """What is asked for, and the seeds; written first."""
        return self.path / "plan.json"

    @property
    def journal(self) -> Path:
        """Optuna's journal of all waves of trials that are over."""
        return self.path / "journal.log"

    @property
    def record(self) -> Path:
        """All trials, and what is reported; written anew whenever a trial ends."""
        return self.path / "sweep.json"

    @property
    def trials(self) -> Path:
        """All trials as a table."""
        return self.path / "trials.parquet"

    @property
    def best(self) -> Path:
        """The chosen values of each method; written before any test example is looked at."""
        return self.path / "best.json"

    @property
    def table(self) -> Path:
        """The report as a LaTeX table."""
        return self.path / "table.tex"

    @property
    def reported(self) -> Path:
        """The folder of the runs on the chosen values."""
        return self.path / "report"

    def trial(self, method: str, number: int, seed: int) -> RunFolder:
        """The run of a trial on one seed."""
        return RunFolder(self.path / "trials" / method / f"{number:03d}" / f"seed-{seed}")

    def report(self, method: str, seed: int) -> RunFolder:
        """The run of a method's chosen values on one seed."""
        return RunFolder(self.reported / method / f"seed-{seed}")


def reported_in(paths: Iterable[Path]) -> list[Path]:
    """The same folders, but of a sweep the one with the runs of its report, if there are any: trials are no results."""
    found = []
    for path in paths:
        folder = SweepFolder(path)
        if not folder.plan.exists():
            found.append(path)
        elif folder.reported.is_dir():
            found.append(folder.reported)
    return found
