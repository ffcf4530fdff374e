"""The diagonal of the Fisher information, in four ways that the literature tells apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from agscl.methods.method import Learned, Network

from .per_sample import Targets, TargetsOf, mean_magnitudes, mean_over_processes, precise

Kind = Literal["empirical", "sampled", "exact", "batched"]
"""Whose labels, and whether samples are told apart: see `fisher_diagonal`."""

KINDS: tuple[Kind, ...] = get_args(Kind)


def fisher_diagonal(network: Network, learned: Learned, kind: Kind) -> dict[str, Tensor]:
    r"""Mean over the data of squared gradients of the log-likelihood, by parameter name.

    ``"empirical"``: of the data's own labels, per sample. ``"sampled"``: of one label a sample, drawn from the
    model; in many processes each draws for its own samples. ``"exact"``: the expectation over all labels under the
    model. ``"batched"``: of the batch's mean loss, as in the official AGS-CL code and many others; it shrinks as
    batches grow, the other three do not depend on them.

    The names are those of van de Ven, "On the computation of the Fisher information in continual learning" (2025).

    Raises:
        ValueError: If there is no data, or labels are needed and missing.
    """
    if kind == "batched":
        return _batched(network, learned)
    choices: dict[Kind, TargetsOf] = {"empirical": _own_labels, "sampled": _sampler(), "exact": _all_labels}
    return mean_magnitudes(network, learned, choices[kind], _weighted_loss, torch.square)


def labels_of(batch: Any, outputs: Tensor) -> Tensor:
    """The labels of a batch that is a pair of inputs and labels.

    Raises:
        ValueError: If there are none, or they do not fit the outputs.
    """
    labels = batch[1] if isinstance(batch, list | tuple) and len(batch) > 1 else None
    if not isinstance(labels, Tensor) or labels.is_floating_point():
        raise ValueError(
            "the empirical Fisher needs labels: give batches as pairs (inputs, labels) with integer labels, "
            "or choose fisher='sampled' or fisher='exact'"
        )
    classes = _num_classes(outputs)
    if labels.shape != outputs.shape[:1] or (len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes):
        raise ValueError(f"labels must be numbers below {classes}, one a sample, to fit the outputs of this task")
    return labels


def _num_classes(outputs: Tensor) -> int:
    try:
        _, classes = outputs.shape
    except ValueError as error:
        shape = tuple(outputs.shape)
        raise ValueError(f"the Fisher information needs logits of shape (B, classes), not {shape}") from error
    return classes


def _weighted_loss(outputs: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    return weight * cross_entropy(outputs, labels, reduction="none")


def _own_labels(batch: Any, outputs: Tensor) -> Iterator[Targets]:
    yield labels_of(batch, outputs), outputs.new_ones(len(outputs))


def _all_labels(batch: Any, outputs: Tensor) -> Iterator[Targets]:
    """Every label; the root of its probability weighs the loss, so that the probability weighs the square."""
    roots = outputs.softmax(1).sqrt()
    for label in range(_num_classes(outputs)):
        yield torch.full((len(outputs),), label, device=outputs.device), roots[:, label]


def _sampler() -> TargetsOf:
    """One label a sample from the model; global random numbers are left as they are."""
    generator = torch.Generator()
    generator.set_state(torch.get_rng_state())

    def sampled(batch: Any, outputs: Tensor) -> Iterator[Targets]:
        """One draw a sample, so that the labels do not depend on the sizes of batches."""
        draws = torch.rand(len(outputs), generator=generator, dtype=torch.float64).to(outputs.device)
        below = outputs.double().softmax(1).cumsum(1) < draws.unsqueeze(1)
        yield below.sum(1).clamp_max(_num_classes(outputs) - 1), outputs.new_ones(len(outputs))

    return sampled


def _batched(network: Network, learned: Learned) -> dict[str, Tensor]:
    parameters = network.common
    sums, samples = network.zeros(), 0
    for batch in learned.batches:
        with torch.enable_grad():
            outputs = precise(learned.predict(batch))
            loss = cross_entropy(outputs, labels_of(batch, outputs))
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for total, gradient in zip(sums.values(), gradients, strict=True):
            if gradient is not None:
                total.addcmul_(gradient, gradient, value=len(outputs))
        samples += len(outputs)
    return mean_over_processes(sums, samples)
