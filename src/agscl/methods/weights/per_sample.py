"""Magnitudes of per-sample gradients, averaged over data: closed forms by layer, `torch.func` for the rest.

A closed form needs a layer's input and the gradient of its output only. Since the model is in eval mode, no sample
sees another, and one backward pass of the summed loss gives every sample's own gradients. The first dimension of
every layer's input counts samples; a layer where it does not, as its length or its gradients say, is left to
`torch.func`, which shows the model one sample at a time: a batch whose outputs are then others is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.func import grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from agscl.methods.functional import call_with
from agscl.methods.method import Learned, Network
from agscl.nodes.activity import deviation
from agscl.nodes.layers import CLOSED_FORMS, Magnitude
from agscl.processes import sum_with_counts

Targets = tuple[Tensor, ...]
"""What one differentiation needs beside the outputs: tensors with one entry a sample."""

TargetsOf = Callable[[Any, Tensor], Iterable[Targets]]
"""Maps a batch and its outputs to the targets of each differentiation."""

Losses = Callable[..., Tensor]
"""Maps outputs and targets to one value a sample, shape ``(B,)``."""

CHUNK = 32
"""Samples at once where per-sample gradients are held in memory."""


def mean_magnitudes(
    network: Network, learned: Learned, targets_of: TargetsOf, losses: Losses, magnitude: Magnitude
) -> dict[str, Tensor]:
    """Mean over all samples, of all processes, of the magnitude of every common parameter's per-sample gradient.

    Args:
        network: The network, in eval mode.
        learned: The task with its data.
        targets_of: Gives the targets of each differentiation; their magnitudes are summed.
        losses: What is differentiated.
        magnitude: `torch.square` or `torch.abs`; it must be multiplicative.

    Returns:
        By parameter name, of the parameter's shape.

    Raises:
        ValueError: If there is no data, or a batch does not fit.
    """
    sums, samples = network.zeros(), 0
    differentiation = _Differentiation(network, learned.predict, losses, magnitude)
    for batch in learned.batches:
        with torch.enable_grad(), _recorded(network.model) as records:
            outputs = learned.predict(batch)
        samples += len(outputs)
        for targets in targets_of(batch, precise(outputs.detach())):
            for name, total in differentiation.sums(batch, outputs, targets, records).items():
                sums[name] += total
    return mean_over_processes(sums, samples)


def precise(outputs: Tensor) -> Tensor:
    """Outputs in float32 at least: in less, a probability near one is one, and its gradient nothing.

    >>> precise(torch.ones(1, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))


def mean_over_processes(sums: Mapping[str, Tensor], samples: int) -> dict[str, Tensor]:
    """Means over the samples of all processes.

    Args:
        sums: Sums over this process's samples, by name.
        samples: How many it has.

    Raises:
        ValueError: If there were no samples.
    """
    sums, samples = sum_with_counts(sums, samples)
    if samples == 0:
        raise ValueError("no data to measure importance on: the batches are empty")
    return {name: total / samples for name, total in sums.items()}


@dataclass(frozen=True)
class _Record:
    """One call of a layer: what came in, where its output is in the autograd graph, and of which dtype."""

    layer: nn.Module
    input: Tensor
    output: GradientEdge
    dtype: torch.dtype


@contextmanager
def _recorded(model: nn.Module) -> Iterator[list[_Record]]:
    """Records the calls of all layers that have a closed form while the model computes."""
    records: list[_Record] = []

    def record(layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        if args and output.requires_grad:
            records.append(_Record(layer, args[0].detach(), get_gradient_edge(output), output.dtype))

    handles = [module.register_forward_hook(record) for module in model.modules() if type(module) in CLOSED_FORMS]
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class _Differentiation:
    """Differentiates the losses of a batch for every sample."""

    network: Network
    predict: Callable[[Any], Tensor]
    losses: Losses
    magnitude: Magnitude
    apart: dict[nn.Module, bool] = field(default_factory=dict)
    """Layers that were looked at, and whether samples lie apart along the first dimension of their outputs."""

    def sums(self, batch: Any, outputs: Tensor, targets: Targets, calls: list[_Record]) -> dict[str, Tensor]:
        """Sum over the batch of every used parameter's magnitudes, by name."""
        with torch.enable_grad():
            each = self.losses(precise(outputs), *targets)
            loss = each.sum()
        if not loss.requires_grad:
            return {}
        uses, parameters = _uses(loss), self.network.common
        names = {id(p): name for name, p in parameters.items() if id(p) in uses}
        records = [call for call in calls if _is_alone(call, calls, uses) and len(call.input) == len(outputs)]
        self._tell_apart(each, records)
        sums = self._closed(loss, [record for record in records if self.apart.get(record.layer, True)], names)
        rest = {name: parameters[name] for name in names.values() if name not in sums}
        coarsest = max((outputs.dtype, *(call.dtype for call in calls)), key=lambda dtype: torch.finfo(dtype).eps)
        each = each.detach().to(coarsest)
        return {**sums, **(self._general(batch, targets, rest, each) if rest else {})}

    def _tell_apart(self, each: Tensor, records: list[_Record]) -> None:
        """Look at layers for the first time: the loss of the last sample must have no gradient but at its own place."""
        new = [record for record in records if record.layer not in self.apart]
        if len(each) <= 1 or not new:
            return
        with torch.enable_grad():
            last = each[-1]
        edges = [record.output for record in new]
        gradients = torch.autograd.grad(last, edges, retain_graph=True, allow_unused=True)
        for record, gradient in zip(new, gradients, strict=True):
            self.apart[record.layer] = gradient is None or not gradient[:-1].any()

    def _closed(self, loss: Tensor, records: list[_Record], names: Mapping[int, str]) -> dict[str, Tensor]:
        wanted = [r for r in records if any(id(p) in names for p in r.layer.parameters(recurse=False))]
        if not wanted:
            return {}
        edges = [record.output for record in wanted]
        gradients = torch.autograd.grad(loss, edges, retain_graph=True, allow_unused=True)
        sums: dict[str, Tensor] = {}
        for record, gradient in zip(wanted, gradients, strict=True):
            if gradient is not None:
                rule, dtype = CLOSED_FORMS[type(record.layer)], next(record.layer.parameters(recurse=False)).dtype
                x = record.input.to(dtype) if record.input.is_floating_point() else record.input
                for local, total in rule(record.layer, x, gradient.to(dtype), self.magnitude):
                    parameter = record.layer.get_parameter(local)
                    if id(parameter) in names:
                        sums[names[id(parameter)]] = total
        return sums

    def _general(
        self, batch: Any, targets: Targets, parameters: Mapping[str, Tensor], each: Tensor
    ) -> dict[str, Tensor]:
        """Per-sample gradients by `torch.func`, for layers of any kind; `each` is every sample's loss in the batch.

        Losses are as precise as what they are computed from, which the dtype of `each` says.

        Raises:
            ValueError: If the batch does not consist of tensors with one entry a sample, or if a sample's loss is
                another one without the rest of the batch.
        """
        found: list[Tensor] = [*targets]
        _map(found.append, batch)
        total = {len(tensor) for tensor in found}
        if len(total) != 1:
            raise ValueError(f"all tensors of a batch need one entry a sample, these have {sorted(total)}")

        def loss(weights: dict[str, Tensor], sample: Any, target: Targets) -> Tensor:
            outputs = call_with(self.network.model, weights, self.predict, _map(torch.unsqueeze, sample, 0))
            return self.losses(precise(outputs), *(t.unsqueeze(0) for t in target)).sum()

        weights = {name: p.detach() for name, p in parameters.items()}
        sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for start in range(0, total.pop(), CHUNK):
            chosen = itemgetter(slice(start, start + CHUNK))
            part, target = _map(chosen, batch), tuple(map(chosen, targets))
            gradients, alone = _of_each(loss, weights, part, target, len(chosen(each)))
            if deviation([alone.detach().to(each.dtype)], [chosen(each)]) is None:
                raise ValueError(
                    "what the model gives for a sample depends on the others in its batch, so that no sample has "
                    "gradients of its own; give batches of one sample, or choose another method"
                )
            for name, gradient in gradients.items():
                sums[name] += self.magnitude(gradient).sum(0)
        return sums


def _of_each(
    loss: Callable[..., Tensor], weights: dict[str, Tensor], samples: Any, targets: Targets, count: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Gradients and values of the loss for each of some samples: all at once, or in turn where vmap cannot.

    It cannot where the forward branches on what is in a tensor, as Hugging Face's do on their masks.
    """
    try:
        with sdpa_kernel(SDPBackend.MATH):  # the one attention that vmap can take apart
            gradients, values = vmap(grad_and_value(loss), in_dims=(None, 0, 0))(weights, samples, targets)
    except (RuntimeError, NotImplementedError):
        each = []
        for place in range(count):
            sample, target = _map(itemgetter(place), samples), tuple(t[place] for t in targets)
            each.append(grad_and_value(loss)(weights, sample, target))
        gradients = {name: torch.stack([found[name] for found, _ in each]) for name in weights}
        values = torch.stack([value for _, value in each])
    return gradients, values


def _uses(loss: Tensor) -> Counter[int]:
    """How often each parameter enters the computation of a loss, by identity; each use of a cast counts."""
    readers, edges = Counter[Any](), list[tuple[Any, Any]]()
    waiting = [loss.grad_fn] if loss.grad_fn is not None else []
    while waiting:
        node = waiting.pop()
        for source in [source for source, _ in node.next_functions if source is not None]:
            edges.append((node, source))
            if source not in readers:
                waiting.append(source)
            readers[source] += 1
    uses = Counter[int]()
    for node, source in edges:
        if (variable := getattr(source, "variable", None)) is not None:
            uses[id(variable)] += readers[node] if node.name() == "ToCopyBackward0" else 1
    return uses


def _is_alone(record: _Record, records: list[_Record], uses: Mapping[int, int]) -> bool:
    """Whether a layer was called once and nothing else uses its parameters."""
    once = all(uses.get(id(p), 1) == 1 for p in record.layer.parameters(recurse=False))
    return once and sum(other.layer is record.layer for other in records) == 1


def _map(function: Callable[..., Any], batch: Any, *args: Any) -> Any:
    """The batch with a function applied to each of its tensors.

    Raises:
        ValueError: If there is something else in it.
    """
    if isinstance(batch, Tensor):
        return function(batch, *args)
    if isinstance(batch, Mapping):
        return {key: _map(function, value, *args) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return tuple(_map(function, value, *args) for value in batch)
    raise ValueError(
        "per-sample gradients of this model need batches of tensors in tuples, lists or dicts, "
        f"not {type(batch).__name__}"
    )
