"""The state after each task of a run: weights, the guard's state, and what each node is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from agscl.guard import Guard
from agscl.metrics import node_states
from agscl.rl.history import PolicyTaskFinished
from agscl.runs import RunFolder
from agscl.runs.files import tensors_in, write_tensors
from agscl.runs.tables import Rating, nodes, read_nodes, write_table
from agscl.runs.tensors import load_states
from agscl.tensors import prefixed, under
from agscl.training import TaskFinished

from .digests import remember


@dataclass(frozen=True)
class TaskStates:
    """A logger that writes the state of a model and its guard after each finished task, in runs of every kind."""

    folder: RunFolder
    model: nn.Module
    guard: Guard

    def emit(self, event: object) -> None:
        """Write the state if a task is finished, and its nodes if the method rates them."""
        if isinstance(event, TaskFinished | PolicyTaskFinished):
            path = self.folder.state_after(event.task)
            path.parent.mkdir(exist_ok=True)
            write_state(path, self.model, self.guard)
            remember(self.folder, path)
            if importance := self.guard.importance:
                import polars

                states = node_states(self.guard.graph.layers, importance, self.model.state_dict())
                used = {layer: nodes.tolist() for layer, nodes in self.guard.uses.get(event.task, {}).items()}
                rated = (
                    Rating(event.task, layer, values.tolist(), states[layer], used.get(layer, ()))
                    for layer, values in importance.items()
                )
                table, path = nodes(rated), self.folder.nodes
                # rows of this task or later ones are of a life that was lost
                earlier = [read_nodes(path).filter(polars.col("after") < event.task)] if path.exists() else []
                write_table(path, polars.concat([*earlier, table]))
                remember(self.folder, path)


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
        return cls(path, digest, under("model", tensors), under("guard", tensors))

    def restore(self, model: nn.Module, guard: Guard) -> None:
        """Put a model and its guard into this state; a `ValueError` if it is that of another model or method."""
        load_states(f"{self.path} does not fit the run", (model, self.model), (guard, self.guard))


def write_state(path: Path, model: nn.Module, guard: Guard) -> None:
    """Write weights as ``model.NAME`` and the guard's state as ``guard.NAME``."""
    write_tensors(path, prefixed(model=model.state_dict(), guard=guard.state_dict()))
