"""``agscl verify``: the certificate that a run's later tasks did not change its earlier ones."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from agscl.experiments.certificate import Certificate, certify
from agscl.experiments.digests import require_untouched
from agscl.experiments.records import read_supervised
from agscl.experiments.supervised.result import require_same_table
from agscl.experiments.supervised.run import load_run
from agscl.experiments.words import spans
from agscl.runs import RunFolder
from agscl.runs.files import read_record, write_bytes

from .console import Output, table

SPANS = 6
"""Most ranges of nodes that are named in a line."""


def run(arguments: argparse.Namespace) -> int:
    """Certify the run in a folder, write the certificate into it, and show it.

    Returns:
        0 if the certificate is granted, 1 if not.

    Raises:
        ValueError: If the folder holds no finished run with its states, or they changed since the last certificate.
    """
    folder, file = RunFolder(arguments.folder), arguments.folder / "certificate.json"
    run = read_supervised(folder)
    require_same_table(run.result, folder)
    digests = require_untouched(folder)
    loaded = load_run(run.result.experiment, arguments.data_root)
    certificate = certify(loaded, folder)
    if file.exists():
        earlier = certified_states(file)
        changed = [name for name, digest in certificate.states.items() if earlier.get(name) != digest]
        if changed:
            raise ValueError(
                f"{changed[0]} has changed since {file} was made; delete the certificate to make a new one"
            )
    write_bytes(file, certificate.to_json())
    if arguments.json:
        Output().data({**json.loads(certificate.to_json()), "file": str(file), "digests": digests})
        return 0 if certificate.granted else 1
    _show(certificate, Output(), file)
    if not digests:
        Output().say(
            "The run kept no digests of its files, as older ones did not: they are held against each other only."
        )
    return 0 if certificate.granted else 1


def certified_states(file: Path) -> dict[str, Any]:
    """The digest of each state in a certificate.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        return dict(read_record(file)["states"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged; delete it to certify the run anew") from error


def _show(certificate: Certificate, output: Output, file: Path) -> None:
    if certificate.granted:
        output.say("Certificate granted. Every logit is bit-identical to when its task was learned:")
        examples = f"{sum(certificate.examples):,} test examples of {len(certificate.tasks)} tasks"
        output.say(f"{examples}, compared after every later task in {len(certificate.states)} states")
    else:
        output.say("Drift. Earlier tasks are not answered as when they were learned:")
        change = "largest change of a logit at the end"
        output.show(table(["task", "first changed after", change, "changed answers at the end"], _drifts(certificate)))
        # the nodes behind the largest drift
        drifted = [drift for drift in certificate.drifts if not drift.identical]
        task = max(drifted, key=lambda drift: drift.largest).task
        output.say(f"nodes that moved since task {task + 1} was learned (for the other tasks see the certificate):")
        for movement in (movement for movement in certificate.movements if movement.task == task):
            kind = "important nodes" if movement.importance else "nodes"
            total = f"{len(movement.nodes)} of {movement.counted} {kind}"
            places = spans(movement.nodes, SPANS)
            output.say(f"  {movement.layer}: {total} ({places}), by up to {movement.largest:.3g}")
    output.say(f"certificate: {file}")


def _drifts(certificate: Certificate) -> list[list[str]]:
    """A row for each task but the last."""
    rows = []
    for task, name in enumerate(certificate.tasks[:-1]):
        drifts = [drift for drift in certificate.drifts if drift.task == task]  # after one later task after the other
        first = next((f"task {drift.after + 1}" for drift in drifts if not drift.identical), "never")
        rows.append([f"{task + 1}  {name}", first, f"{drifts[-1].largest:.3g}", f"{drifts[-1].changed:.1%}"])
    return rows
