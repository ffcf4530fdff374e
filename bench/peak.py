"""How far memory rises while a second task is learned: ``python peak.py CASE [DATA_ROOT]``.

Resident before are the data and the libraries; the rise holds the model, gradients, the optimizer's and the method's
state, the best weights, and the activations of a batch.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from work import EQUAL, Plain, consolidation, epoch, learner, sequence

import agscl
from agscl.benchmarks import TaskSequence
from agscl.methods import Method

METHODS: dict[str, Method] = {
    "FineTuning": agscl.FineTuning(),
    "EWC": agscl.EWC(lam=1.0),
    "SI": agscl.SI(c=1.0),
    "AGSCL": agscl.AGSCL(mu=10, lam=400),
}
Phases = dict[str, int]


def status(name: str) -> int:
    """A size from what the system knows of this process, in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def peak(work: Callable[[], object]) -> int:
    """The most bytes there were in memory during some work."""
    Path("/proc/self/clear_refs").write_text("5")
    work()
    return status("VmHWM")


def plain(tasks: TaskSequence) -> Phases:
    """Peaks of the hand-written loop."""
    loop = Plain(tasks.tasks[1], 1)
    loop.epoch()
    return {"epoch": peak(loop.epoch), "end": 0, "method": 0}


def own(method: Method, tasks: TaskSequence) -> Phases:
    """Peaks of this library, and the bytes that the method keeps."""
    who = learner(method, EQUAL)
    epoch(who, tasks.tasks[0], 0)()
    consolidation(who, tasks.tasks[0], 0)()
    kept = who.guard.memory_bytes()
    phases = {"epoch": peak(epoch(who, tasks.tasks[1], 1)), "end": peak(consolidation(who, tasks.tasks[1], 1))}
    return {**phases, "method": kept}


def warm_up(tasks: TaskSequence) -> None:
    """Load what torch loads at the first step."""
    loop = Plain(tasks.tasks[0], 0)
    loop.train, loop.validation = ((part[0][:2], part[1][:2]) for part in (loop.train, loop.validation))
    loop.epoch()


def main() -> None:
    """Print the rises and the method's bytes as JSON."""
    case, *roots = sys.argv[1:]
    torch.set_num_threads(1)
    tasks = sequence(0.15, Path(roots[0]) if roots else None)
    warm_up(tasks)
    before = status("VmRSS")
    phases = plain(tasks) if case == "plain" else own(METHODS[case], tasks)
    rises = {name: bytes_ if name == "method" else bytes_ - before for name, bytes_ in phases.items()}
    sys.stdout.write(json.dumps(rises))


if __name__ == "__main__":
    main()
