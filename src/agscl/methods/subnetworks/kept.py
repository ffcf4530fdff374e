"""What methods share that give each task a network of its own: added parameters, and tensors that each task keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from agscl.methods.method import Network, named, num_bytes


def add_parameters(model: nn.Module, prefix: str, tensors: Iterable[Tensor]) -> dict[str, nn.Parameter]:
    """Add parameters to a model, so that its ``parameters()`` and ``state_dict()`` hold them.

    Returns:
        The parameters by name, ``{prefix}_0`` and so on.

    Raises:
        ValueError: If the model has something of that name.
    """
    added = {f"{prefix}_{number}": nn.Parameter(tensor) for number, tensor in enumerate(tensors)}
    for name in added:
        if hasattr(model, name):
            raise ValueError(f"the model has a part named {name!r} already; protect a fresh model, or rename the part")
    for name, parameter in added.items():
        model.register_parameter(name, parameter)
    return added


class OwnTensors:
    """Tensors of the model that each learned task keeps for itself.

    Args:
        tensors: The model's own by name.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._own = {name: tensor.detach() for name, tensor in tensors.items()}
        self._kept: dict[int, dict[str, Tensor]] = {}
        self._shown: int | None = None

    @property
    def names(self) -> list[str]:
        """Names of the tensors."""
        return list(self._own)

    @property
    def tasks(self) -> list[int]:
        """Tasks that keep theirs."""
        return list(self._kept)

    def keep(self, task: int) -> None:
        """Copy the model's own tensors for a task."""
        self._kept[task] = {name: tensor.clone() for name, tensor in self._own.items()}

    def show(self, task: int | None) -> None:
        """From now on give a task's tensors; the model's own for `None` or a task that kept none."""
        self._shown = task if task in self._kept else None

    def shown(self, name: str, module: nn.Module, own: Tensor) -> Tensor:
        """What a module computes with in the place of its own tensor."""
        return own if self._shown is None else self._kept[self._shown][name].clone()

    def tensors(self) -> dict[str, Tensor]:
        """All that is kept, as ``kept.{task}.{name}``."""
        return named(**{f"kept.{task}": tensors for task, tensors in self._kept.items()})

    def blank(self, tasks: Iterable[int]) -> dict[str, Tensor]:
        """What a state with these tasks must look like, for `same_shapes`."""
        return named(**{f"kept.{task}": self._own for task in tasks})

    def load(self, tensors: Mapping[str, Tensor], tasks: Iterable[int]) -> None:
        """Take a state that fits; the model's own tensors are shown."""
        own = self._own.items()
        self._kept = {t: {n: tensors[f"kept.{t}.{n}"].to(x, copy=True) for n, x in own} for t in tasks}
        self._shown = None

    def num_bytes(self) -> int:
        """Size of all that is kept."""
        return num_bytes(self.tensors().values())


def require_known(task: int, learned: Iterable[int], network: Network) -> None:
    """Refuse a task that cannot be answered.

    Raises:
        ValueError: If it is neither learned nor about to be.
    """
    known = sorted(learned)
    if task not in known and network.graph.num_tasks is None and task != len(known):
        raise ValueError(f"task {task} is not learned: learned are {known}, and the next is {len(known)}")


def tasks_in(tensors: Mapping[str, Tensor], group: str) -> set[int]:
    """Numbers of the tasks that a saved state has something of.

    Raises:
        ValueError: If a name is not as it should be.

    >>> import torch
    >>> tasks_in({"gate.0.fc": torch.ones(2), "gate.3.fc": torch.ones(2), "drawn": torch.tensor(True)}, "gate")
    {0, 3}
    """
    parts = [name.split(".", 2) for name in tensors if name.startswith(f"{group}.")]
    try:
        return {int(number) for _, number, _ in parts}
    except ValueError as error:
        raise ValueError(f"the state does not belong to this guard: a {group} has no task") from error
