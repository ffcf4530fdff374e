"""Export: the compact sub-network that serves one task or all, as plain state, `torch.export` program and ONNX."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agscl.guard.export import compacted
from agscl.guard.programs import Cost, cost, difference, programs, require_close, require_new, write_programs
from agscl.nodes.surgery.replaced import has_replaced_tensors
from agscl.training.evaluation import EVALUATION_BATCH

from .supervised.run import LoadedRun


class Served(nn.Module):
    """A trunk with the heads of the tasks that it serves."""

    def __init__(self, trunk: nn.Module, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.trunk, self.heads = trunk, nn.ModuleList(heads)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Logits of the one task served, shape ``(B, classes)``, or of each of several."""
        features = self.trunk(x)
        logits = tuple(head(features) for head in self.heads)
        return logits if len(logits) > 1 else logits[0]


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        tasks: Numbers of the tasks served.
        before: Cost of the whole trunk with these tasks' heads.
        after: Cost of the sub-network.
        differences: By file, the largest difference of a logit from the full model's over all test data.
        layers: By layer, which nodes are left.
    """

    tasks: tuple[int, ...]
    before: Cost
    after: Cost
    differences: dict[str, float]
    layers: dict[str, list[int]]


def export(loaded: LoadedRun, tasks: Sequence[int], out: Path) -> Exported:
    """Write the compact sub-network of a run's model into a folder.

    Removed are the nodes that the tasks' logits do not depend on, by exact zeros: silent ones, and those that nothing
    needed reads. Every file is compared with the full model on the tasks' test data.

    Args:
        loaded: The run with its final weights; the model is left in eval mode on the CPU.
        tasks: Numbers of the tasks to serve.
        out: A new or empty folder.

    Raises:
        ValueError: If packages are missing, the folder is not empty, each task has a network of its own and there are
            several, or a file computes something else.
        OSError: If the folder cannot be written.
    """
    require_new(out, " with --out")
    x, guard = torch.zeros(2, *loaded.sequence.input_shape), loaded.learner.guard
    model: Any = loaded.learner.model.cpu().eval()
    if has_replaced_tensors(model):
        if len(tasks) > 1:
            raise ValueError(
                f"{loaded.experiment.method.name} answers each task with a network of its own: export one task at a "
                f"time, --task {tasks[0]}"
            )
        model = guard.extract(tasks[0], compact=False).eval()
    served: Any
    served, drop = compacted(model, guard.graph, tasks, x)
    before = Served(model.trunk, [model.heads[task] for task in tasks]).eval()
    after = Served(served.trunk, [served.heads[task] for task in tasks]).eval()
    files = programs(after, (x,), ["x"], [f"task_{task}" for task in tasks])
    differences = {name: _difference(loaded, before, answer, tasks) for name, (_, answer) in files.items()}
    layers = {name: (~nodes).nonzero().flatten().tolist() for name, nodes in drop.items()}
    exported = Exported(tuple(tasks), cost(before, (x,)), cost(after, (x,)), differences, layers)
    write_programs(out, {name: content for name, (content, _) in files.items()}, _description(exported, after, loaded))
    return exported


@torch.no_grad()
def _difference(loaded: LoadedRun, whole: Served, answer: Any, tasks: Sequence[int]) -> float:
    """Largest difference of a logit over the tasks' test data, each in units of its task's largest if above 1."""
    largest = 0.0
    for place, task in enumerate(tasks):
        for batch, _ in loaded.sequence.tasks[task].test.batches(EVALUATION_BATCH):
            expected, found = _of_task(whole(batch.cpu()), place), _of_task(answer(batch.cpu()), place)
            largest = max(largest, difference(expected, found))
    return require_close(largest)


def _of_task(outputs: Tensor | tuple[Tensor, ...], place: int) -> Tensor:
    return outputs if isinstance(outputs, Tensor) else outputs[place]


def _description(exported: Exported, model: Served, loaded: LoadedRun) -> bytes:
    experiment, sequence = loaded.experiment, loaded.sequence
    content = {
        "format": 1,
        "preset": experiment.preset,
        "method": experiment.method.name,
        "seed": experiment.seed,
        "input": ["batch", *sequence.input_shape],
        "outputs": [{"task": task, "name": sequence.tasks[task].name} for task in exported.tasks],
        "tensors": {name: list(tensor.shape) for name, tensor in model.state_dict().items()},
        **asdict(exported),
    }
    return json.dumps(content, indent=2).encode() + b"\n"
