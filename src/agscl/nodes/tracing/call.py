"""One operation of a traced model, as a rule sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from .labels import HEAD, AnyLabel, HeadLabel, Label, labels_in
from .ledger import Ledger, Place


class TraceError(ValueError):
    """A model that cannot be traced; the message names the module, the operation and the way out."""


@dataclass(frozen=True)
class Call:
    """One operation with its values and labels; what is not clear about its units is refused with a `TraceError`.

    Attributes:
        node: The operation in the fx graph.
        operation: The function, or the module itself.
        args: Positional arguments, real values.
        kwargs: Keyword arguments, real values.
        label_args: Positional arguments with labels in the place of tensors.
        label_kwargs: Keyword arguments with labels in the place of tensors.
        value: The result, a real value.
        ledger: Where rules write what belongs to whom.
        name_of: A parameter's or buffer's name in the state dict, by identity.
        where: Path of the module the operation stands in, for error messages and names.
        in_head: Whether that module is a head, or part of one.
    """

    node: fx.Node
    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    label_args: tuple[Any, ...]
    label_kwargs: dict[str, Any]
    value: Any
    ledger: Ledger
    name_of: Callable[[Tensor], str | None]
    where: str
    in_head: bool

    @property
    def module(self) -> nn.Module:
        """The module, for rules that are for modules."""
        return self.operation  # type: ignore[no-any-return]

    @property
    def label(self) -> AnyLabel:
        """The label of the first input."""
        first: AnyLabel = self.label_args[0] if self.label_args else next(iter(self.label_kwargs.values()), None)
        return first

    @property
    def labels(self) -> list[AnyLabel]:
        """The labels of all inputs that have one."""
        return labels_in(self.label_args) + labels_in(self.label_kwargs)

    def argument(self, name: str, position: int) -> Any:
        """The value of an argument given by name or position; for a module, its attribute of that name."""
        if isinstance(self.operation, nn.Module):
            return getattr(self.operation, name, None)
        return self.kwargs.get(name, self.args[position] if len(self.args) > position else None)

    def place(self, tensor: Tensor, dim: int) -> tuple[str, int]:
        """Where the positions of a parameter or buffer are entered in the ledger.

        Raises:
            TraceError: If the tensor is no parameter or buffer of the model (a parametrized weight, say).
        """
        name = self.name_of(tensor)
        if name is None:
            raise self.refusal("its weight is computed and not a parameter of the model")
        return name, dim

    def refusal(self, why: str) -> TraceError:
        """The error for what this operation does, with the way out."""
        operation = type(self.operation) if isinstance(self.operation, nn.Module) else self.operation
        name = getattr(operation, "__name__", operation)
        leave = f" or leave the module out (ignore=({self.where!r},))" if self.where else ""
        return TraceError(
            f"cannot trace {self.where or 'the model'!r}: {name}: {why}; give a rule of your own (rules={{...}}){leave}"
        )

    def along(self, label: Label, dim: int, size: int) -> Tensor:
        """Ids along one dimension of an input, shape ``(size,)``; they must not vary along the others.

        Raises:
            TraceError: If positions along that dimension do not tell units apart.
        """
        dim %= label.ids.ndim
        if any(n != 1 for other, n in enumerate(label.ids.shape) if other != dim):
            raise self.refusal("it mixes positions that hold different nodes")
        return label.ids.flatten().expand(size)

    def elementwise(self) -> AnyLabel:
        """The label of a result computed element by element: units pass, and their activation can be read here."""
        return Label(self.label.ids, frozenset({self.node})) if isinstance(self.label, Label) else self.label

    def made(self, ids: Tensor, dim: int) -> AnyLabel:
        """The label of a result whose dimension `dim` holds the given new units; in a head there are none."""
        shape = [1] * self.value.ndim
        shape[dim] = -1
        return HEAD if self.in_head else Label(ids.reshape(shape), frozenset({self.node}))

    def consume(self, weight: Tensor, column_dim: int, input_dim: int) -> None:
        """Enter that a weight's positions along `column_dim` read the units along `input_dim` of the first input."""
        label = self.label
        if isinstance(label, Label):
            ids = self.along(label, input_dim, weight.shape[column_dim])
            self.read(self.place(weight, column_dim), ids)
            self.watch(label)
        elif label is not None and not (isinstance(label, HeadLabel) and self.in_head):
            raise self.refusal("it works on a parameter, or on a head's output without being part of a head")

    def produce(self, weight: Tensor, row_dim: int, output_dim: int) -> AnyLabel:
        """New units along `output_dim` of the result, made by a weight's positions along `row_dim` and by the bias."""
        if self.in_head:
            return HEAD
        ids = self.ledger.produce(self.place(weight, row_dim), weight.shape[row_dim])
        if (bias := self.argument("bias", 2)) is not None:
            self.ledger.enter(self.ledger.incoming, self.place(bias, 0), ids)
        return self.made(ids, output_dim)

    def own(self, entries: dict[Place, Tensor], *tensors: Tensor | None) -> None:
        """Enter per-channel tensors as belonging to the units of dimension 1; on the model's input nobody owns them."""
        for tensor in [tensor for tensor in tensors if tensor is not None and not self.in_head]:
            name, dim = self.place(tensor, 0)
            if isinstance(self.label, Label):
                self.ledger.enter(entries, (name, dim), self.along(self.label, 1, tensor.shape[0]))
            else:
                self.ledger.shared.add(name)

    def read(self, place: tuple[str, int], ids: Tensor) -> None:
        """Enter the units that a weight's positions read."""
        self.ledger.enter(self.ledger.outgoing, place, ids)

    def watch(self, label: Label) -> None:
        """Note where the activation of the units that this operation reads can be measured."""
        if label.ids.shape[0] != 1:
            raise self.refusal("the first dimension must be that of the samples")
        for source in sorted(label.sources):  # in the graph's order, so that means over them keep their bits
            before = self.ledger.readings.get(source, label.ids.flatten()[:0])
            self.ledger.readings[source] = torch.cat([before, label.ids.flatten()]).unique()


Rule = Callable[[Call], Any]
"""Takes a call, writes into its ledger, returns the label (or tuple of labels) of its result."""
