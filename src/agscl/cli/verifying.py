"""What ``agscl verify`` does: certify a run, write the certificate beside it, and show it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from agscl.experiments import Experiment
from agscl.experiments.certificate import Certificate, Drift, certify
from agscl.experiments.supervised.run import load_run
from agscl.runs import RunFolder
from agscl.runs.files import read_record, write_bytes

SPANS = 6
"""Most ranges of nodes that are named in a line."""


def verify(path: Path, data_root: Path | None) -> int:
    """Certify the run in a folder.

    Returns:
        0 if the certificate is granted, 1 if not.

    Raises:
        ValueError: If the folder holds no finished run with its states, or they changed since the last certificate.
        OSError: If a file cannot be read or written.
    """
    folder = RunFolder(path)
    folder.require_complete()
    loaded = load_run(Experiment.from_json(folder.experiment.read_bytes()), data_root)
    certificate = certify(loaded, folder)
    file = path / "certificate.json"
    _require_unchanged(certificate, file)
    write_bytes(file, certificate.to_json())
    _show(certificate, Console(), file)
    return 0 if certificate.granted else 1


def _require_unchanged(certificate: Certificate, file: Path) -> None:
    """Refuse states that are not those of an earlier certificate."""
    if not file.exists():
        return
    earlier = certified_states(file)
    changed = [name for name, found in certificate.states.items() if earlier.get(name) != found]
    if changed:
        raise ValueError(f"{changed[0]} has changed since {file} was made; delete the certificate to make a new one")


def certified_states(file: Path) -> dict[str, Any]:
    """The digest of each state in a certificate.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        return dict(read_record(file)["states"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged; delete it to certify the run anew") from error


def _show(certificate: Certificate, console: Console, file: Path) -> None:
    tasks, states = len(certificate.tasks), len(certificate.states)
    if certificate.granted:
        console.print("[bold]Certificate granted.[/] Every logit is bit-identical to when its task was learned:")
        examples = f"{sum(certificate.examples):,} test examples of {tasks} tasks"
        console.print(f"{examples}, compared after every later task in {states} states", highlight=False)
    else:
        console.print("[bold]Drift.[/] Earlier tasks are not answered as when they were learned:")
        console.print(_drifts(certificate))
        for line in _moved(certificate):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"certificate: {file}", highlight=False, markup=False, soft_wrap=True)


def _drifts(certificate: Certificate) -> Table:
    table = Table()
    for heading in (
        "task",
        "first changed after",
        "largest change of a logit at the end",
        "changed answers at the end",
    ):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for task, group in groupby(sorted(certificate.drifts, key=lambda d: (d.task, d.after)), key=lambda d: d.task):
        table.add_row(f"{task + 1}  {certificate.tasks[task]}", *_drift(list(group)))
    return table


def _drift(drifts: Sequence[Drift]) -> tuple[str, str, str]:
    first = next((f"task {drift.after + 1}" for drift in drifts if not drift.identical), "never")
    return first, f"{drifts[-1].largest:.3g}", f"{drifts[-1].changed:.1%}"


def _moved(certificate: Certificate) -> Iterator[str]:
    """The nodes behind the largest drift."""
    task = max((drift for drift in certificate.drifts if not drift.identical), key=lambda drift: drift.largest).task
    yield f"nodes that moved since task {task + 1} was learned (for the other tasks see the certificate):"
    for movement in certificate.movements:
        if movement.task == task:
            kind = "important nodes" if movement.importance else "nodes"
            total = f"{len(movement.nodes)} of {movement.counted} {kind}"
            yield f"  {movement.layer}: {total} ({spans(movement.nodes)}), by up to {movement.largest:.3g}"


def spans(nodes: Sequence[int]) -> str:
    """Ascending positions as ranges, the first few of them: ``0-3, 7``."""
    runs = [[node for _, node in group] for _, group in groupby(enumerate(nodes), key=lambda pair: pair[1] - pair[0])]
    named = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ", ".join(named if len(named) <= SPANS else [*named[:SPANS], "..."])
