"""What methods share that give each task a network of its own: added parameters, and tensors that each task keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor, nn

from agscl.methods.method import Network, num_bytes
from agscl.processes import from_first
from agscl.tensors import prefixed, under


def add_parameters(model: nn.Module, prefix: str, tensors: Iterable[Tensor]) -> dict[str, nn.Parameter]:
    """Add parameters to a model, so that its ``parameters()`` and ``state_dict()`` hold them.

    In many processes they are those of the first one.

    Returns:
        The parameters by name, ``{prefix}_0`` and so on.

    Raises:
        ValueError: If the model has something of that name.
    """
    added = {f"{prefix}_{number}": nn.Parameter(tensor) for number, tensor in enumerate(tensors)}
    for name in added:
        if hasattr(model, name):
            raise ValueError(f"the model has a part named {name!r} already; protect a fresh model, or rename the part")
    from_first(added)
    for name, parameter in added.items():
        model.register_parameter(name, parameter)
    return added


def grow_parameters(model: nn.Module, added: dict[str, nn.Parameter], tensors: Iterable[Tensor]) -> None:
    """Put new parameters in the place of those that `add_parameters` gave, in their order, where the shape is new."""
    for (name, old), tensor in zip(list(added.items()), tensors, strict=True):
        if tensor.shape != old.shape:
            added[name] = nn.Parameter(tensor.detach().clone(), old.requires_grad)
            model.register_parameter(name, added[name])


class TaskTensors:
    """Tensors that each learned task keeps, saved as ``{group}.{task}.{name}``.

    Attributes:
        kept: The tensors by task and name.
        shown: Those of the task to be answered; empty while the model's own are to be used.
    """

    def __init__(self, group: str) -> None:
        self._group = group
        self.kept: dict[int, dict[str, Tensor]] = {}
        self.shown: dict[str, Tensor] = {}

    def keep(self, task: int, tensors: Mapping[str, Tensor]) -> None:
        """Copy a task's tensors."""
        self.kept[task] = {name: tensor.clone() for name, tensor in tensors.items()}

    def show(self, task: int, network: Network) -> None:
        """Answer with a learned task's tensors from now on, or with the model's own for the next task.

        Raises:
            ValueError: If the task is neither learned nor about to be.
        """
        known = sorted(self.kept)
        if task not in known and network.graph.num_tasks is None and task != len(known):
            raise ValueError(f"task {task} is not learned: learned are {known}, and the next is {len(known)}")
        self.shown = self.kept.get(task, {})

    def in_place_of(self, name: str, module: nn.Module, own: Tensor) -> Tensor:
        """What a module computes with in the place of its own tensor."""
        return self.shown[name].clone() if name in self.shown else own

    def tensors(self) -> dict[str, Tensor]:
        """All that is kept, to be saved."""
        return prefixed(**{f"{self._group}.{task}": tensors for task, tensors in self.kept.items()})

    def blank(self, tasks: Iterable[int], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a state with these tasks must look like, for `restored`."""
        return prefixed(**{f"{self._group}.{task}": like for task in tasks})

    def load(self, state: Mapping[str, Tensor], tasks: Iterable[int]) -> None:
        """Take a state that fits; the model's own tensors are shown."""
        self.kept = {task: under(f"{self._group}.{task}", state) for task in tasks}
        self.shown = {}

    def grow(self, grown: Callable[[str, Tensor], Tensor]) -> None:
        """Take over a network with new nodes; the function maps a name and a tensor to the grown one."""
        self.kept = {task: {n: grown(n, t) for n, t in tensors.items()} for task, tensors in self.kept.items()}
        self.shown = {}

    def num_bytes(self) -> int:
        """Size of all that is kept."""
        return num_bytes(self.tensors().values())


def require_no_ignored(network: Network) -> None:
    """Refuse a network with ignored modules to a method that replaces tensors.

    What such a module does is not known; it may read its parts' tensors past their forward, as torch's transformer
    layers do in eval mode, and so not get the replacement.

    Raises:
        ValueError: If there are any.
    """
    if network.graph.ignored:
        raise ValueError(
            f"this method gives each task tensors of its own, and the ignored {network.graph.ignored[0]!r} may be read "
            "past them; leave ignore= out, or use AGS-CL or HAT"
        )


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
