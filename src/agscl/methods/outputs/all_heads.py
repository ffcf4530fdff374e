"""Forward passes on top of the loop's own, and the outputs of one task among those of all heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from agscl.methods.method import Network
from agscl.nodes import NodeGraph


class _Forward(nn.Module):
    """A forward as a module, so that `functional_call` can run it with other tensors."""

    def __init__(self, model: nn.Module, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, batch: Any) -> Any:
        return self.function(batch)


def outputs_with(network: Network, tensors: Mapping[str, Tensor], forward: Callable[[Any], Any], batch: Any) -> Any:
    """Outputs of a batch with other tensors in the place of the model's own, by name."""
    state = {f"model.{name}": tensor for name, tensor in tensors.items()}
    return functional_call(_Forward(network.model, forward), state, (batch,))


def present_outputs(network: Network, forward: Callable[[Any], Any], batch: Any) -> Any:
    """Outputs of a batch with the present weights; norm layers do not count the batch a second time."""
    buffers = {name: buffer.clone() for name, buffer in network.buffers.items()}
    return outputs_with(network, buffers, forward, batch)


def outputs_of(graph: NodeGraph, outputs: Any, task: int) -> Tensor:
    """The outputs of one task's head.

    Args:
        graph: The model's nodes and heads.
        outputs: Of all heads: a list, tuple or dict in the order of the tasks, or a tensor that all tasks share.
        task: Number of the task.

    Raises:
        ValueError: If the outputs are something else.
    """
    if isinstance(outputs, Mapping):
        outputs = list(outputs.values())
    if isinstance(outputs, Tensor) and graph.num_tasks is None:
        return outputs
    if isinstance(outputs, list | tuple) and len(outputs) == graph.num_tasks and isinstance(outputs[task], Tensor):
        chosen: Tensor = outputs[task]
        return chosen
    wanted = "one tensor" if graph.num_tasks is None else f"a list of {graph.num_tasks} tensors, one for each task"
    raise ValueError(f"forward(batch) must give the outputs of all heads: {wanted}, not {type(outputs).__name__}")
