"""What methods share that give each task a part of the network: parameters of their own, and a book by task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from .method import Network


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


def require_known(task: int, learned: Iterable[int], network: Network) -> None:
    """Refuse a task that cannot be answered.

    Raises:
        ValueError: If it is neither learned nor about to be.
    """
    known = sorted(learned)
    if task not in known and network.graph.num_tasks is None and task != len(known):
        raise ValueError(f"task {task} is not learned: learned are {known}, and the next is {len(known)}")


def tasks_in(tensors: Mapping[str, Tensor], book: str) -> set[int]:
    """Numbers of the tasks that a saved state has something of.

    Raises:
        ValueError: If a name is not as it should be.
    """
    parts = [name.split(".", 2) for name in tensors if name.startswith(f"{book}.")]
    try:
        return {int(number) for _, number, _ in parts}
    except ValueError as error:
        raise ValueError(f"the state does not belong to this guard: a {book} has no task") from error
