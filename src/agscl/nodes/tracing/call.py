"""One operation of a traced model, as a rule sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from .labels import HEAD, AnyLabel, HeadLabel, Label, ParameterLabel, compress, labels_in
from .ledger import NO_UNIT, Ledger, Part, Place


class TraceError(ValueError):
    """A model that cannot be traced; the message names the module, the operation and the way out."""


class UnfollowedError(TraceError):
    """A forward that a front end cannot follow at all."""


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
        fixed: Operations whose value depends on no input and no parameter, such as a range of positions.
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
    fixed: Set[fx.Node]
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
    def units(self) -> AnyLabel:
        """The label of the first input; of a parameter used by itself, its positions as units."""
        label = self.label
        if not isinstance(label, ParameterLabel):
            return label
        return Label(self.lifted(label, self.args[0] if self.args else next(iter(self.kwargs.values()))))

    @property
    def labels(self) -> list[AnyLabel]:
        """The labels of all inputs that have one."""
        return labels_in(self.label_args) + labels_in(self.label_kwargs)

    @property
    def name(self) -> str:
        """The operation's name, without what tells its overloads apart: ``"add"`` for ``aten.add.Tensor``."""
        if isinstance(self.operation, torch._ops.OpOverload):
            return self.operation._schema.name.split("::")[1]
        return str(getattr(self.operation, "__name__", self.operation))

    def argument(self, name: str, position: int) -> Any:
        """The value of an argument given by name or position; for a module, its attribute of that name.

        Operations of ATen know their arguments by name alone: their order is often another.
        """
        if isinstance(self.operation, nn.Module):
            return getattr(self.operation, name, None)
        if isinstance(self.operation, torch._ops.OpOverload):
            schema = [argument.name for argument in self.operation._schema.arguments]
            position = schema.index(name) if name in schema else len(self.args)
        return self.kwargs.get(name, self.args[position] if len(self.args) > position else None)

    def operands(self) -> list[tuple[Tensor, AnyLabel]]:
        """All tensors among the arguments with their labels."""
        pairs = _paired((self.args, self.kwargs), (self.label_args, self.label_kwargs))
        return [(value, label) for value, label in pairs if isinstance(value, Tensor)]

    def label_of(self, tensor: Tensor) -> AnyLabel:
        """The label of one of the arguments; a module's own parameter is one as a whole."""
        for value, label in _paired((self.args, self.kwargs), (self.label_args, self.label_kwargs)):
            if value is tensor:
                return label
        name = self.name_of(tensor)
        return ParameterLabel(name, tensor.shape) if name and isinstance(tensor, nn.Parameter) else None

    def lifted(self, label: AnyLabel, value: Tensor) -> Tensor:
        """The unit at every position of a value, as it is known by now; broadcasts to the value.

        The positions of a parameter that is used by itself are units of their own until they meet others.
        """
        if isinstance(label, ParameterLabel):
            elements = self.ledger.elements_of(label.name, label.shape)
            ids = elements if label.view is None else elements.flatten()[label.view]
        else:
            ids = label.ids if isinstance(label, Label) else torch.full((1,) * value.ndim, NO_UNIT)
        return compress(self.ledger.units.roots(ids))

    def place(self, tensor: Tensor, dim: int) -> Place:
        """Where the positions of a whole parameter or buffer are entered in the ledger.

        Raises:
            TraceError: If the tensor is no parameter or buffer of the model (a parametrized weight, say).
        """
        name = self.name_of(tensor)
        if name is None:
            raise self.refusal("its weight is computed and not a parameter of the model")
        return name, dim

    def axis(self, tensor: Tensor, dim: int) -> tuple[Place, Part]:
        """Where the positions of a parameter, or of a block of one, along a dimension are entered in the ledger.

        Raises:
            TraceError: If the tensor is no such block.
        """
        label = self.label_of(tensor)
        axes = label.axes() if isinstance(label, ParameterLabel) else None
        if isinstance(label, ParameterLabel) and axes is not None and (axis := axes[dim]) is not None:
            own, index = axis
            return (label.name, own), (label.shape[own], index)
        return self.place(tensor, dim), (tensor.shape[dim], torch.arange(tensor.shape[dim]))

    def refusal(self, why: str) -> TraceError:
        """The error for what this operation does, with the way out."""
        operation = type(self.operation) if isinstance(self.operation, nn.Module) else self.operation
        name = getattr(operation, "__name__", operation)
        where = self.where.partition(".parametrizations.")[0]
        advice = "give a rule of your own (rules={...})"
        if where != self.where or hasattr(self.operation, "parametrizations"):
            advice = "make it a plain parameter (torch.nn.utils.parametrize.remove_parametrizations)"
        elif where:
            advice += f" or leave the module out (ignore=({where!r},))"
        return TraceError(f"cannot trace {where or 'the model'!r}: {name}: {why}; {advice}")

    def along(self, label: Label, dim: int, size: int) -> Tensor:
        """Ids along one dimension of an input, shape ``(size,)``.

        What meets there at the other positions is one node, since one weight serves it.

        Raises:
            TraceError: If nodes meet something that is none.
        """
        ids = compress(self.ledger.units.roots(label.ids))
        others = [other for other in range(ids.ndim) if other != dim % ids.ndim]
        exported = isinstance(self.operation, torch._ops.OpOverload)  # there no weight can mix samples
        if ids.shape[0] > 1 and 0 in others and not exported:
            raise self.refusal("the first dimension must be that of the samples")
        line = self.ledger.units.merge(ids, others)
        if ids.shape != line.shape:
            self.mark_stream(line)
        if ((ids == NO_UNIT) != (line == NO_UNIT)).any():
            raise self.refusal("one weight reads nodes and the model's input together")
        return line.flatten().expand(size)

    def mark_stream(self, ids: Tensor) -> None:
        """Note that a unit is all its layer, if the ids are of one unit alone."""
        if ids.numel() == 1 and int(ids) >= 0:
            self.ledger.streams.append(ids.flatten())

    def elementwise(self) -> AnyLabel:
        """The label of a result computed element by element: units pass, and their activation can be read here."""
        label = self.label
        if isinstance(label, ParameterLabel):
            return replace(label, computed=True)
        return replace(self.labelled(label.ids), scores=label.scores) if isinstance(label, Label) else label

    def labelled(self, ids: Tensor) -> Label:
        """The label of a result that holds units in these places, whose activation can be read here.

        It can where the first dimension is that of the samples. In attention, heads may be folded into it.
        """
        ids = compress(self.ledger.units.roots(ids))
        floating = isinstance(self.value, Tensor) and self.value.is_floating_point()
        readable = floating and ids.ndim > 0 and ids.shape[0] == 1
        return Label(ids, frozenset({self.node} if readable else ()))

    def made(self, ids: Tensor, dim: int) -> AnyLabel:
        """The label of a result whose dimension `dim` holds the given new units; in a head there are none."""
        shape = [1] * self.value.ndim
        shape[dim] = -1
        return HEAD if self.in_head else Label(ids.reshape(shape), frozenset({self.node}))

    def is_fixed(self, weight: Tensor) -> bool:
        """Whether nothing in a weight is learned: it is a buffer, or made of buffers, inputs and constants.

        Raises:
            TraceError: If it is computed from what is learned.
        """
        label = self.label_of(weight)
        if isinstance(label, Label | HeadLabel):
            raise self.refusal("its weight is computed and not a parameter of the model")
        if label is None and isinstance(self.operation, nn.Module):
            self.place(weight, 0)
        return label is None

    def fixed_product(self) -> AnyLabel:
        """The label of a product with a weight that is fixed: nothing can be cut there.

        Raises:
            TraceError: If it mixes nodes.
        """
        if isinstance(self.units, Label):
            raise self.refusal("it mixes nodes with a weight that is fixed (a buffer), where none can be cut off")
        return self.label

    def consume(self, weight: Tensor, column_dim: int, input_dim: int) -> None:
        """Enter that a weight's positions along `column_dim` read the units along `input_dim` of the first input."""
        label = self.units
        if isinstance(label, HeadLabel):
            if not self.in_head:
                raise self.refusal("it works on a head's output without being part of a head")
            return
        if isinstance(label, Label) and label.scores:
            raise self.refusal("a weight reads what a softmax of nodes gives, which is not zero where they are")
        place, part = self.axis(weight, column_dim)
        if isinstance(label, Label):
            ids = self.along(label, input_dim, weight.shape[column_dim])
            self.watch(label)
        else:
            ids = torch.full((weight.shape[column_dim],), NO_UNIT)
        self.ledger.enter(self.ledger.outgoing, place, ids, part, use=self.node)

    def produce(self, weight: Tensor, row_dim: int, output_dim: int) -> AnyLabel:
        """New units along `output_dim` of the result, made by a weight's positions along `row_dim` and by the bias."""
        if self.in_head:
            return HEAD
        place, (size, index) = self.axis(weight, row_dim)
        ids = self.ledger.produce(place, size, index, use=self.node)
        if (bias := self.argument("bias", 2)) is not None:
            self.receive(bias, ids)
        return self.made(ids, output_dim)

    def receive(self, vector: Tensor, ids: Tensor) -> None:
        """Enter a vector, one entry a unit, as coming into these units; one that is fixed belongs to nobody.

        One that is put together (of two learned thirds and zeros between, say) is entered position by position.
        """
        label = self.label_of(vector)
        if isinstance(label, Label) or (isinstance(label, ParameterLabel) and label.axes() is None):
            self.ledger.units.unify(self.lifted(label, vector).expand_as(ids), ids)
        elif not self.is_fixed(vector):
            place, part = self.axis(vector, 0)
            self.ledger.enter(self.ledger.incoming, place, ids, part, use=self.node)

    def own(self, entries: dict[Place, Tensor], *tensors: Tensor | None) -> None:
        """Enter per-channel tensors as belonging to the units of dimension 1; the model's input owns nothing."""
        for tensor in [tensor for tensor in tensors if tensor is not None and not self.in_head]:
            ids = torch.full((tensor.shape[0],), NO_UNIT)
            if isinstance(self.label, Label):
                ids = self.along(self.label, 1, tensor.shape[0])
            if entries is self.ledger.incoming:
                self.receive(tensor, ids)
            else:
                self.ledger.enter(entries, self.place(tensor, 0), ids, use=self.node)

    def read(self, place: Place, ids: Tensor) -> None:
        """Enter the units that a weight's positions read."""
        self.ledger.enter(self.ledger.outgoing, place, ids, use=self.node)

    def watch(self, label: Label) -> None:
        """Note where the activation of the units that this operation reads can be measured."""
        if compress(self.ledger.units.roots(label.ids)).shape[0] != 1:
            raise self.refusal("the first dimension must be that of the samples")
        for source in sorted(label.sources):  # in the graph's order, so that means over them keep their bits
            before = self.ledger.readings.get(source, label.ids.flatten()[:0])
            self.ledger.readings[source] = torch.cat([before, label.ids.flatten()]).unique()


def _paired(values: Any, labels: Any) -> Iterator[tuple[Any, AnyLabel]]:
    """All values in nested lists, tuples and dicts with their labels."""
    if isinstance(values, dict):
        values, labels = list(values.values()), list(labels.values())
    if isinstance(values, list | tuple) and isinstance(labels, list | tuple):
        for value, label in zip(values, labels, strict=True):
            yield from _paired(value, label)
    elif isinstance(labels, Label | ParameterLabel | HeadLabel) or labels is None:
        yield values, labels


def first_line(error: Exception) -> str:
    """The first line of an error, or its kind."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


Rule = Callable[[Call], Any]
"""Takes a call, writes into its ledger, returns the label (or tuple of labels) of its result."""
