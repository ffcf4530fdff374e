"""The certificate: whether every task is answered to the bit as right after it was learned, from the stored states.

Where it is not, it says by how much the logits drifted and which nodes moved. Whatever a run trained in, its logits are
compared in float32, as its weights are stored: bfloat16 would round away that a weight moved by 1e-6.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from pydantic_core import to_json
from torch import Tensor

from agscl.experiments import Result
from agscl.experiments.result_file import environment
from agscl.experiments.supervised.run import LoadedRun
from agscl.nodes.slices import gather
from agscl.runs import RunFolder
from agscl.runs.machine import DTYPES, Machine
from agscl.training import TaskFinished
from agscl.training.evaluation import EVALUATION_BATCH, answers, evaluate
from agscl.training.progress import snapshot

from .states import State

FORMAT = 1
"""Of ``certificate.json``."""

ROUNDING = 0.01
"""Share of a task's answers in which a state may differ from the run's record: another machine rounds otherwise.

Below float32 one answer may differ of however few: logits often tie there, and the last bit of a sum decides.
"""


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
        counted: Number of nodes compared: those important then, or all if the method rates none.
        nodes: Those that moved.
        importance: Their importance then; empty if the method rates none.
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
    """The drift of every task after every later one, and the nodes behind it.

    Attributes:
        tasks: Names of the tasks.
        examples: Test examples of each.
        precision: Of the logits; certificates without it were given in the precision of the run.
        logits: SHA-256 of each task's logits right after it was learned.
        states: SHA-256 of each state file, by its name in the run folder.
        drifts: Every task after every later one.
        movements: Nodes that moved until the end, for each task that drifted.
        environment: Versions and machine that compared.
    """

    tasks: tuple[str, ...]
    examples: tuple[int, ...]
    precision: str
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
        return to_json(content, indent=2, inf_nan_mode="null") + b"\n"


def certify(loaded: LoadedRun, folder: RunFolder) -> Certificate:
    """Compare all logits of a finished run's states, in float32.

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
    states = [folder.state_after(task) for task in range(len(result.history.tasks))]
    if missing := [path for path in states if not path.exists()]:
        raise ValueError(f"{folder.path} has not the state after every task: {missing[0].name} is missing")
    if folder.state.read_bytes() != states[-1].read_bytes():
        raise ValueError(f"{folder.state} is not the state after the last task, {states[-1].name}")
    exact = replace(loaded.learner.machine, dtype=torch.float32)
    written = result.environment.get("compute", "").split(", ")  # such as "cuda:1, bf16, channels last"
    dtype = next((DTYPES[part] for part in written if part in DTYPES), loaded.learner.machine.dtype)
    recorded = replace(exact, dtype=dtype)
    learned: list[Tensor] = []
    drifts: list[Drift] = []
    digests: dict[str, str] = {}
    for after, finished in enumerate(result.history.tasks):
        state = _restore(loaded, folder, after)
        for task in range(after + 1):
            loaded.learner.guard.use_task(task)
            _check_record(loaded, task, recorded, finished, state)
            logits = _logits(loaded, task, exact)
            if task < after:
                drifts.append(_drift(task, after, learned[task], logits))
            else:
                learned.append(logits)
        digests[str(state.path.relative_to(folder.path))] = state.sha256
    return Certificate(
        tasks=tuple(task.name for task in result.history.tasks),
        examples=tuple(len(logits) for logits in learned),
        precision="fp32",
        logits=tuple(hashlib.sha256(_bytes(logits).numpy().tobytes()).hexdigest() for logits in learned),
        states=digests,
        drifts=tuple(drifts),
        movements=tuple(_movements(loaded, folder, drifts, len(learned) - 1)),
        environment=environment(exact),
    )


def _restore(loaded: LoadedRun, folder: RunFolder, task: int) -> State:
    """Restore the state after a task."""
    state = State.read(folder.state_after(task))
    state.restore(loaded.learner.model, loaded.learner.guard)
    learned = state.guard["learned"].tolist()
    if learned != list(range(task + 1)):
        raise ValueError(f"{state.path} is not the state after task {task}: learned are {learned}")
    return state


def _check_record(loaded: LoadedRun, task: int, machine: Machine, finished: TaskFinished, state: State) -> None:
    """Refuse a state that does not answer as the run's record says, in the precision that it was recorded in."""
    parts, fewest = loaded.sequence.tasks[task], 0 if machine.dtype == torch.float32 else 1
    records = [("test", parts.test, finished.accuracy)]
    records += [("validation", parts.validation, finished.validation)] if finished.validation is not None else []
    for name, examples, accuracy in records:
        answered, recorded = evaluate(loaded.learner.model, examples, task, machine=machine).accuracy, accuracy[task]
        if round(abs(answered - recorded) * len(examples), 6) > max(ROUNDING * len(examples), fewest):
            raise ValueError(
                f"{state.path.name} is not the state of this run: it answers {answered:.1%} of task {task}'s {name} "
                f"examples correctly, the run recorded {recorded:.1%}"
            )


@torch.no_grad()
def _logits(loaded: LoadedRun, task: int, machine: Machine) -> Tensor:
    """Logits of a task's test examples in eval mode, shape ``(B, num_classes)``, on the CPU."""
    model, test = loaded.learner.model, loaded.sequence.tasks[task].test
    model.eval()
    # by default cuDNN rounds a convolution's inputs to TF32: 10 bits, in which 1 + 1e-6 is 1
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        batches = map(machine.place, test.batches(EVALUATION_BATCH))
        return torch.cat([answers(model, batch, task, joint=False).cpu() for batch in batches])


def _drift(task: int, after: int, then: Tensor, now: Tensor) -> Drift:
    largest = (now.double() - then.double()).abs().nan_to_num(nan=torch.inf).max().item()
    changed = (now.argmax(dim=1) != then.argmax(dim=1)).double().mean().item()
    return Drift(task, after, torch.equal(_bytes(then), _bytes(now)), largest, changed)


def _movements(loaded: LoadedRun, folder: RunFolder, drifts: Sequence[Drift], last: int) -> Iterator[Movement]:
    """For each task that drifted, the nodes that moved since, until the last state."""
    model, guard = loaded.learner.model, loaded.learner.guard
    _restore(loaded, folder, last)
    now = snapshot(model)
    for task in sorted({drift.task for drift in drifts if not drift.identical}):
        _restore(loaded, folder, task)
        then, ratings = model.state_dict(), guard.importance
        for layer in guard.graph.layers:
            pieces = layer.incoming + layer.statistics
            change = (gather(pieces, now).cpu().double() - gather(pieces, then).cpu().double()).abs().amax(dim=1)
            importance = ratings[layer.name].cpu() if layer.name in ratings else None
            counted = torch.ones_like(change, dtype=torch.bool) if importance is None else importance > 0
            moved = (change > 0) & counted
            if moved.any():
                yield Movement(
                    task=task,
                    layer=layer.name,
                    counted=int(counted.sum()),
                    nodes=tuple(moved.nonzero().flatten().tolist()),
                    importance=() if importance is None else tuple(importance[moved].tolist()),
                    largest=float(change[moved].max()),
                )


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().flatten().view(torch.uint8)
