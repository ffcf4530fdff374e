"""The outputs of one task among those of all heads, and a forward pass on top of the loop's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from agscl.methods.functional import call_with
from agscl.methods.method import Forward, Network
from agscl.nodes import NodeGraph


def current_outputs(network: Network, forward: Forward, batch: Any) -> Any:
    """Outputs of a batch with the current weights; norm layers do not count the batch a second time."""
    buffers = {name: buffer.clone() for name, buffer in network.buffers.items()}
    return call_with(network.model, buffers, forward, batch)


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
