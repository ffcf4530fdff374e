"""The compact network of one task, out of one's own model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from agscl.methods.method import Network
from agscl.methods.outputs.all_heads import outputs_of
from agscl.nodes import NodeGraph, compact, inert_nodes, removable
from agscl.nodes.activity import random_states, set_random_states
from agscl.nodes.surgery.compact import Nodes
from agscl.nodes.surgery.copies import plain_copy
from agscl.nodes.tracing.calls import form_of
from agscl.nodes.tracing.exported import two_samples
from agscl.nodes.tracing.trace import arguments

from .file import answer, questions
from .programs import LARGEST, Cost, cost, difference, programs, require_close, write_programs

TRIALS = (1, 7)
"""Sizes of the random batches on which every file is compared with the full model."""

Forward = Callable[..., Tensor]
"""Maps a model and its inputs to the outputs of one task."""


@dataclass(frozen=True)
class ExportedTask:
    """What was exported.

    Attributes:
        task: The task that is served.
        before: Cost of the whole model with this task's head.
        after: Cost of the compact one.
        differences: By file, the largest `difference` of an output from the full model's, on example and random inputs.
        layers: By layer, which nodes are left.
    """

    task: int
    before: Cost
    after: Cost
    differences: dict[str, float]
    layers: dict[str, list[int]]


class OneTask(nn.Module):
    """A model's outputs for one task alone, by the tensors among its arguments."""

    def __init__(self, model: nn.Module, choose: Callable[[nn.Module, tuple[Tensor, ...]], Tensor]) -> None:
        super().__init__()
        self.model, self._choose = model, choose

    def forward(self, *inputs: Tensor) -> Tensor:
        """The task's outputs."""
        return self._choose(self.model, inputs)


def answering(network: Network, added: Iterable[str], example_inputs: Any) -> nn.Module:
    """A copy of the model that answers with its own tensors alone as the model does now, bit for bit.

    Args:
        network: The network, ready to answer for a task.
        added: Names of the parameters that a method has added; the copy has none of them.
        example_inputs: A batch for the model.

    Raises:
        ValueError: If it has hooks of others, or computes with more than its parameters and buffers.
    """
    plain, inputs = plain_copy(network.model), questions(example_inputs)
    for name in added:
        delattr(plain, name)
    for name, module in plain.named_modules():
        if module._forward_hooks or module._forward_pre_hooks:
            raise ValueError(f"{name or 'the model'!r} has hooks, which its network alone would not run; remove them")
    answers = []
    for model in (network.model, plain):
        states = random_states(network.model)
        answers.append(answer(model, example_inputs, inputs, next(model.parameters()).device))
        set_random_states(network.model, states)
    if not all(map(_identical, *answers)):
        raise ValueError("the model computes with more than its parameters and buffers: they alone answer otherwise")
    return plain


def _identical(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())


def compacted(model: nn.Module, graph: NodeGraph, tasks: Iterable[int], inputs: Any) -> tuple[nn.Module, Nodes]:
    """A copy without the nodes on which the tasks' outputs do not depend, and which these are."""
    chosen = None if graph.num_tasks is None else tasks
    drop = removable(model, graph, inert_nodes(model, graph, inputs, chosen), inputs)
    return compact(model, graph, drop, inputs).eval(), drop


def export_task(
    model: nn.Module, graph: NodeGraph, task: int, out: Path, example_inputs: Any, forward: Forward | None
) -> ExportedTask:
    """Write the compact network of a task out of a model that answers for it; see `agscl.Guard.export`."""
    form, values = form_of(model, *arguments(example_inputs))
    if not all(isinstance(value, Tensor) and value.ndim for value in values):
        raise ValueError("cannot export a model whose example inputs are more than tensors of samples and constants")
    x = tuple(tensor.detach().cpu() for tensor in two_samples(values))

    def choose(model: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        if forward is not None:
            return forward(model, *inputs)
        args, named = form.arguments(inputs)
        try:
            return outputs_of(graph, model(*args, **named), task)
        except ValueError as error:
            advice = f"say which are those of task {task}: forward=lambda model, *inputs: ..."
            raise ValueError(f"the model's outputs are not those of all heads in order; {advice}") from error

    small, drop = compacted(model, graph, [task], example_inputs)
    whole = OneTask(plain_copy(model).cpu(), choose).eval()
    before, after = (needed(each, x) for each in (whole, OneTask(small.cpu(), choose).eval()))
    files = programs(after, x, form.names, [f"task_{task}"])
    differences = {name: require_close(_largest(whole, answer, x)) for name, (_, answer) in files.items()}
    layers = {name: (~nodes).nonzero().flatten().tolist() for name, nodes in drop.items()}
    exported = ExportedTask(task, _cost(before, x), _cost(after, x), differences, layers)
    about = _description(exported, after, dict(zip(form.names, x, strict=True)))
    write_programs(out, {name: content for name, (content, _) in files.items()}, about)
    return exported


def needed(model: nn.Module, inputs: tuple[Tensor, ...]) -> nn.Module:
    """What a model computes with, as a module without anything else: other tasks' heads are gone.

    Raises:
        ValueError: If `torch.export` cannot follow the model.
    """
    batch = {0: torch.export.Dim("batch", min=1, max=LARGEST)}
    try:
        program = torch.export.export(model, inputs, dynamic_shapes=(tuple(batch for _ in inputs),), strict=False)
    except ValueError:
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"torch.export cannot follow the model for batches of any size: {reason}") from error
    plain = program.module()
    assert isinstance(plain, fx.GraphModule)
    plain.graph.eliminate_dead_code()
    return fx.GraphModule(plain, plain.graph)


def _cost(model: nn.Module, inputs: tuple[Tensor, ...]) -> Cost:
    """What a model costs of which everything is needed."""
    return replace(cost(model, inputs), parameters=sum(parameter.numel() for parameter in model.parameters()))


def _description(exported: ExportedTask, model: nn.Module, inputs: dict[str, Tensor]) -> bytes:
    content = {
        "format": 1,
        "inputs": {name: ["batch", *each.shape[1:]] for name, each in inputs.items()},
        "outputs": [f"task_{exported.task}"],
        "tensors": {name: list(tensor.shape) for name, tensor in model.state_dict().items()},
        **asdict(exported),
    }
    return json.dumps(content, indent=2).encode() + b"\n"


@torch.no_grad()
def _largest(whole: nn.Module, answer: Callable[..., Any], x: tuple[Tensor, ...]) -> float:
    """The largest difference on the example inputs and on random ones."""
    generator = torch.Generator().manual_seed(0)
    largest = difference(whole(*x), _first(answer(*x)))
    for size in TRIALS if all(tensor.is_floating_point() for tensor in x) else ():
        drawn = [torch.randn(size, *tensor.shape[1:], generator=generator, dtype=tensor.dtype) for tensor in x]
        largest = max(largest, difference(whole(*drawn), _first(answer(*drawn))))
    return largest


def _first(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    return outputs if isinstance(outputs, Tensor) else outputs[0]
