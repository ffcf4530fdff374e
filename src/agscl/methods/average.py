"""An average of the weights over the last steps: steadier than the weights that the optimizer leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential average of parameters, of all steps alike until there are as many as it spans.

    Attributes:
        shown: Whether the parameters are the averages at the moment.

    >>> weight = nn.Parameter(torch.tensor([1.0]))
    >>> average = WeightAverage({"weight": weight})
    >>> for number, value in enumerate((1.0, 3.0, 5.0)):
    ...     _ = weight.data.fill_(value)
    ...     average.take(number, span=2)
    >>> with average.showing():
    ...     print(weight.item())
    3.5
    >>> weight.item()
    5.0
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = dict(parameters)
        self._average: dict[str, Tensor] = {}
        self.shown = False

    @torch.no_grad()
    def take(self, number: int, span: int) -> None:
        """Average the parameters as they are now.

        Args:
            number: How many times came before; 0 begins anew, and below it is too early.
            span: About how many steps are averaged.
        """
        if number < 0:
            return
        now = {name: parameter.detach() for name, parameter in self._parameters.items()}
        if number == 0 or not self._average:
            self._average = {name: tensor.clone() for name, tensor in now.items()}
        else:
            self._average = {name: average.to(now[name]) for name, average in self._average.items()}  # after a cast
            torch._foreach_lerp_(list(self._average.values()), list(now.values()), max(1 / (number + 1), 1 / span))

    def require_hidden(self) -> None:
        """Refuse a step whose result would be lost.

        Raises:
            ValueError: If the averages are shown.
        """
        if self.shown:
            raise ValueError("train after the averaged() block, not inside it: it ends with the weights before")

    def forget(self) -> None:
        """There is no average until the next step."""
        self._average = {}

    @contextmanager
    def showing(self) -> Iterator[None]:
        """The parameters are the averages within the context; where they never moved, to the bit what they were."""
        own: dict[nn.Parameter, Tensor] = {}
        if not self.shown:
            own = {(p := self._parameters[name]): average.to(p) for name, average in self._average.items()}
        before = [parameter.detach().clone() for parameter in own]
        self.shown = bool(own) or self.shown
        try:
            with torch.no_grad():
                for parameter, average in own.items():
                    # The average of zeros may be one of another sign.
                    parameter.copy_(torch.where(average == parameter, parameter, average))
            yield
        finally:
            with torch.no_grad():
                for parameter, values in zip(own, before, strict=True):
                    parameter.copy_(values)
            self.shown = self.shown and not own

    def tensors(self) -> dict[str, Tensor]:
        """The averages by the names of their parameters; empty if there are none."""
        return dict(self._average)

    def blank(self, saved: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a state must look like, for `restored`: with averages of all parameters, or none at all."""
        return {name: parameter.detach() for name, parameter in self._parameters.items()} if saved else {}

    def load(self, saved: Mapping[str, Tensor]) -> None:
        """Take averages that `tensors` gave."""
        self._average = dict(saved)
