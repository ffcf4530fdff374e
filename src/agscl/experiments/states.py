"""What is kept of every task: the state right after it, and what each node was then."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from agscl.guard import Guard
from agscl.metrics import node_states
from agscl.runs import RunFolder
from agscl.runs.files import tensors_in, write_tensors
from agscl.runs.tables import Rating, nodes, read_nodes, write_table
from agscl.training import Event, TaskFinished


@dataclass(frozen=True)
class TaskStates:
    """A sink that keeps the state after each task.

    Attributes:
        folder: Where.
        model: Whose weights.
        guard: Whose state.
    """

    folder: RunFolder
    model: nn.Module
    guard: Guard

    def emit(self, event: Event) -> None:
        """Write the state if a task is finished."""
        if isinstance(event, TaskFinished):
            self.keep(event.task)

    def keep(self, task: int) -> None:
        """Write the state after a task, and its nodes if the method rates them."""
        path = self.folder.state_after(task)
        path.parent.mkdir(exist_ok=True)
        write_state(path, self.model, self.guard)
        if self.guard.importance:
            self._add_nodes(task)

    def _add_nodes(self, task: int) -> None:
        """Add the nodes' ratings to the table; rows of this task or later ones are of a run that was resumed."""
        import polars

        table, path = nodes(self._ratings(task)), self.folder.nodes
        earlier = [read_nodes(path).filter(polars.col("after") < task)] if path.exists() else []
        write_table(path, polars.concat([*earlier, table]))

    def _ratings(self, task: int) -> Iterator[Rating]:
        importance = self.guard.importance
        states = node_states(self.guard.graph.layers, importance, self.model.state_dict())
        for layer, values in importance.items():
            yield Rating(task, layer, values.tolist(), states[layer])


@dataclass(frozen=True)
class State:
    """What a state file holds.

    Attributes:
        path: The file.
        sha256: Digest of its content.
        model: The model's state dict.
        guard: The guard's.
    """

    path: Path
    sha256: str
    model: Mapping[str, Tensor]
    guard: Mapping[str, Tensor]

    @classmethod
    def read(cls, path: Path) -> State:
        """A state that `write_state` wrote.

        Raises:
            ValueError: If the file is missing or damaged.
            OSError: If it cannot be read.
        """
        if not path.exists():
            raise ValueError(f"{path} is missing: the run did not keep this state, or it was removed")
        content = path.read_bytes()
        tensors = tensors_in(content, path)
        digest = hashlib.sha256(content).hexdigest()
        return cls(path, digest, _under("model", tensors), _under("guard", tensors))

    def restore(self, model: nn.Module, guard: Guard) -> None:
        """Put a model and its guard into this state.

        Raises:
            ValueError: If it is the state of another model or method.
        """
        try:
            model.load_state_dict(self.model)
            guard.load_state_dict(self.guard)
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise ValueError(f"{self.path} does not fit the run: {reason}") from error


def write_state(path: Path, model: nn.Module, guard: Guard) -> None:
    """Write weights as ``model.NAME`` and the guard's state as ``guard.NAME``."""
    write_tensors(path, {**_prefixed("model", model.state_dict()), **_prefixed("guard", guard.state_dict())})


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
