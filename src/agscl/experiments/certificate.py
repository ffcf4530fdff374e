"""The certificate: whether every task is answered to the bit as right after it was learned, from the stored states.

Where it is not, it says by how much the logits drifted and which nodes moved.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from agscl.experiments import Result
from agscl.experiments.result_file import environment
from agscl.experiments.supervised.run import LoadedRun
from agscl.nodes import NodeLayer
from agscl.nodes.slices import gather
from agscl.runs import RunFolder
from agscl.training.evaluation import EVALUATION_BATCH, answers
from agscl.training.progress import snapshot

from .states import State

FORMAT = 1
"""Of ``certificate.json``."""

ROUNDING = 0.01
"""Share of a task's answers in which a state may differ from the run's record: another machine rounds otherwise."""


@dataclass(frozen=True)
class Drift:
    """One task's logits after a later task, compared with right after it was learned.

    Attributes:
        task: The task that is answered, from 0.
        after: The later task.
        identical: Whether all bits are the same.
        largest: Largest absolute difference of a logit.
        changed: Share of examples with another answer.
    """

    task: int
    after: int
    identical: bool
    largest: float
    changed: float


@dataclass(frozen=True)
class Movement:
    """Nodes of one layer that are not what they were when a task was learned.

    Attributes:
        task: The task, from 0.
        layer: Name of the layer.
        counted: How many nodes were compared: those important then, or all if the method rates none.
        nodes: Those that moved.
        importance: What they were worth then; empty if the method rates none.
        largest: Largest absolute change of a weight that comes into one of them.
    """

    task: int
    layer: str
    counted: int
    nodes: tuple[int, ...]
    importance: tuple[float, ...]
    largest: float


@dataclass(frozen=True)
class Certificate:
    """What was compared, and what was found.

    Attributes:
        tasks: Names of the tasks.
        examples: Test examples of each.
        logits: SHA-256 of each task's logits right after it was learned.
        states: SHA-256 of each state file, by its name in the run folder.
        drifts: Every task after every later one.
        movements: Nodes that moved until the end, for each task that drifted.
        environment: Versions and machine that compared.
    """

    tasks: tuple[str, ...]
    examples: tuple[int, ...]
    logits: tuple[str, ...]
    states: Mapping[str, str]
    drifts: tuple[Drift, ...]
    movements: tuple[Movement, ...]
    environment: Mapping[str, str]

    @property
    def granted(self) -> bool:
        """Whether no bit of any logit has changed."""
        return all(drift.identical for drift in self.drifts)

    def to_json(self) -> bytes:
        """The certificate as JSON; a difference that is not finite is null."""
        content = {"format": FORMAT, "granted": self.granted, **asdict(self)}
        return json.dumps(_finite(content), indent=2, allow_nan=False).encode() + b"\n"


def certify(loaded: LoadedRun, folder: RunFolder) -> Certificate:
    """Compare all logits of a finished run's states.

    Args:
        loaded: The run's tasks, model and guard; the model and the guard are left in one of the states.
        folder: Where its states are.

    Raises:
        ValueError: If the run is incomplete, has only one task, or a state is missing, damaged, or not the run's own.
        OSError: If a file cannot be read.
    """
    result = Result.read(folder)
    if len(result.history.tasks) == 1:
        raise ValueError(f"{folder.path} has one task only: no later one could have changed it")
    _check_files(folder, len(result.history.tasks))
    learned: list[Tensor] = []
    drifts: list[Drift] = []
    hashes: dict[str, str] = {}
    for after, task in enumerate(result.history.tasks):
        state = _show(loaded, folder, after)
        found, accuracies = zip(*(_answered(loaded, earlier) for earlier in range(after + 1)), strict=True)
        _check_record(accuracies, task.accuracy, state)
        drifts += [_drift(number, after, then, found[number]) for number, then in enumerate(learned)]
        learned.append(found[after])
        hashes[str(state.path.relative_to(folder.path))] = state.sha256
    return Certificate(
        tasks=tuple(task.name for task in result.history.tasks),
        examples=tuple(len(logits) for logits in learned),
        logits=tuple(_sha256(logits) for logits in learned),
        states=hashes,
        drifts=tuple(drifts),
        movements=tuple(_movements(loaded, folder, drifts, len(learned) - 1)),
        environment=environment(loaded.learner.machine),
    )


def _check_files(folder: RunFolder, tasks: int) -> None:
    """Every state must be there, and what the run hands over must be the last of them."""
    for path in map(folder.state_after, range(tasks)):
        if not path.exists():
            raise ValueError(f"{folder.path} has not the state after every task: {path.name} is missing")
    if folder.state.read_bytes() != folder.state_after(tasks - 1).read_bytes():
        raise ValueError(f"{folder.state} is not the state after the last task, {folder.state_after(tasks - 1).name}")


def _show(loaded: LoadedRun, folder: RunFolder, task: int) -> State:
    """Put model and guard into the state after a task."""
    state = State.read(folder.state_after(task))
    state.restore(loaded.learner.model, loaded.learner.guard)
    learned = state.guard["learned"].tolist()
    if learned != list(range(task + 1)):
        raise ValueError(f"{state.path} is not the state after task {task}: learned are {learned}")
    return state


@torch.no_grad()
def _answered(loaded: LoadedRun, task: int) -> tuple[Tensor, float]:
    """One task's test examples, answered with what the method keeps for it: logits ``(B, num_classes)``, accuracy."""
    learner = loaded.learner
    learner.guard.use_task(task)
    learner.model.eval()
    found, correct = [], 0
    for batch in map(learner.machine.place, loaded.sequence.tasks[task].test.batches(EVALUATION_BATCH)):
        with learner.machine.autocast():
            logits = answers(learner.model, batch, task, joint=False)
        found.append(logits.cpu())
        correct += int((logits.argmax(dim=1) == batch[1]).sum())
    return torch.cat(found), correct / sum(map(len, found))


def _check_record(found: Sequence[float], recorded: Sequence[float], state: State) -> None:
    """Refuse a state that does not answer as the run's record says."""
    for task, (own, accuracy) in enumerate(zip(found, recorded, strict=True)):
        if abs(own - accuracy) > ROUNDING:
            raise ValueError(
                f"{state.path.name} is not the state of this run: it answers {own:.1%} of task {task}'s test examples "
                f"correctly, the run recorded {accuracy:.1%}"
            )


def _drift(task: int, after: int, then: Tensor, now: Tensor) -> Drift:
    largest = (now.double() - then.double()).abs().nan_to_num(nan=torch.inf).max().item()
    changed = (now.argmax(dim=1) != then.argmax(dim=1)).double().mean().item()
    return Drift(task, after, torch.equal(_bytes(then), _bytes(now)), largest, changed)


def _movements(loaded: LoadedRun, folder: RunFolder, drifts: Sequence[Drift], last: int) -> Iterator[Movement]:
    """For each task that drifted, the nodes that moved since, until the last state."""
    learner = loaded.learner
    _show(loaded, folder, last)
    now = snapshot(learner.model)
    for task in sorted({drift.task for drift in drifts if not drift.identical}):
        _show(loaded, folder, task)
        then, importance = learner.model.state_dict(), learner.guard.importance
        for layer in learner.guard.graph.layers:
            movement = _movement(task, layer, then, now, importance.get(layer.name))
            if movement.nodes:
                yield movement


def _movement(
    task: int, layer: NodeLayer, then: Mapping[str, Tensor], now: Mapping[str, Tensor], importance: Tensor | None
) -> Movement:
    pieces = layer.incoming + layer.statistics
    change = (gather(pieces, now).cpu().double() - gather(pieces, then).cpu().double()).abs().amax(dim=1)
    counted = torch.ones_like(change, dtype=torch.bool) if importance is None else importance.cpu() > 0
    moved = (change > 0) & counted
    return Movement(
        task=task,
        layer=layer.name,
        counted=int(counted.sum()),
        nodes=tuple(moved.nonzero().flatten().tolist()),
        importance=() if importance is None else tuple(importance.cpu()[moved].tolist()),
        largest=float(change[moved].max()) if moved.any() else 0.0,
    )


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().flatten().view(torch.uint8)


def _sha256(tensor: Tensor) -> str:
    return hashlib.sha256(_bytes(tensor).numpy().tobytes()).hexdigest()


def _finite(value: Any) -> Any:
    """The same with null for every number that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
